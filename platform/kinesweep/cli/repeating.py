"""Several runs of one identity, each from the beginning, to see whether they are the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from kinesweep.cli.workflows import (
    LogOpener,
    features_of,
    open_logs,
    remove_run,
    run_name,
    say_evaluation,
)
from kinesweep.core.errors import InputError, ResourceError
from kinesweep.core.paths import state_home
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import RunLog
from kinesweep.training.distributed import train_on_ray
from kinesweep.training.result import RunResult, RunSpec, read_result
from kinesweep.training.run import train_run

Place = Literal["cold", "warm", "here"]
"""New workers for each run, the same workers for all, or this process."""
_Train = Callable[[RunSpec, Callable[[], RunLog]], RunResult]


def repeat_recipe(
    recipe: Recipe, runs: int, place: Place, folder: Path | None, overwrite: bool
) -> list[RunResult]:
    """Trains a recipe so many times; nothing of an earlier call is taken over.

    Args:
        recipe: one seed and one configuration.
        runs: how many.
        place: where they run.
        folder: of the run folders; default: by identity.
        overwrite: remove runs that are there.

    Raises:
        InputError: the folder holds runs, and nobody said to remove them.
    """
    store = features_of(recipe, on_ray=place != "here")
    name = run_name(recipe, store)
    root = (folder or state_home() / "repeats" / name).absolute()
    if root.exists() and any(root.iterdir()) and not overwrite:
        raise InputError(
            f"`{root}` holds runs already, and a repetition begins anew; give another `--folder`,"
            " or `--overwrite`"
        )
    for earlier in root.glob("run-*"):
        remove_run(earlier)
    logs = open_logs(recipe, recipe.name, root)
    opener = LogOpener(logs, recipe)
    results = []
    with _trainer(recipe, place, root) as train:
        for number in range(1, runs + 1):
            own = root / f"run-{number}"
            title = f"{name} {own.name}"
            spec = RunSpec(recipe, store.folder, own, trace=True)
            results.append(train(spec, partial(opener, own, title, "repeat", {})))
    return results


@contextmanager
def _trainer(recipe: Recipe, place: Place, root: Path) -> Iterator[_Train]:
    """What trains a run at a place."""
    if place == "here":
        yield lambda spec, open_log: train_run(spec, open_log(), say_evaluation)
    elif place == "cold":
        yield train_on_ray
    else:
        with _warm(recipe, root) as train:
            yield train


@contextmanager
def _warm(recipe: Recipe, root: Path) -> Iterator[_Train]:
    """Trains in one slot, whose workers stay."""
    from kinesweep.sweeps.lease import Outcome
    from kinesweep.sweeps.pool import Pool, pack_task
    from kinesweep.training.task import Task

    pool = Pool(recipe.resources, 1, root / ".ray")

    def train(spec: RunSpec, open_log: Callable[[], RunLog]) -> RunResult:
        lease = pool.client.lease(pack_task(Task.of(spec, open_log)))
        said = lease.next()
        while not isinstance(said, Outcome):
            said = lease.next()
        result = read_result(spec.folder)
        if said.kind != "result" or result is None:
            raise ResourceError(f"`{spec.folder.name}` came to no end: {said.reason}")
        return result

    try:
        yield train
    finally:
        pool.close()
