"""Train several runs with the same identity from scratch to check that they are bit-identical."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError, ResourceError
from kinesweep.core.paths import state_home
from kinesweep.core.run_logger import RunLogger
from kinesweep.pipelines.extraction import get_or_extract_features
from kinesweep.pipelines.tracking import LogOpener, create_tracker
from kinesweep.pipelines.training import log_evaluation, remove_run, run_name
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.result import RunResult, RunSpec, read_result

# New workers for each run, the same workers for all runs, or no workers but this process.
ExecutionMode = Literal["cold", "warm", "here"]
_Train = Callable[[RunSpec, Callable[[], RunLogger]], RunResult]


def repeat_recipe(
    recipe: Recipe, runs: int, place: ExecutionMode, folder: Path | None, overwrite: bool
) -> list[RunResult]:
    """Train a recipe several times from scratch, without reusing anything of an earlier call.

    Args:
        recipe: Recipe with one configuration and one seed.
        runs: Number of runs.
        place: Kind of process that trains the runs.
        folder: Parent of the run folders; None: a folder named after recipe, data and seed.
        overwrite: Whether to remove existing runs.

    Returns:
        The results, in the order of the runs.

    Raises:
        InputError: If the folder is not empty and `overwrite` is not set.
    """
    store = get_or_extract_features(recipe, on_ray=place != "here")
    name = run_name(recipe, store)
    root = (folder or state_home() / "repeats" / name).absolute()
    if root.exists() and any(root.iterdir()) and not overwrite:
        raise InputError(
            f"`{root}` already contains runs, and a repetition starts from scratch; pass another"
            " `--folder` or `--overwrite`"
        )
    for earlier in root.glob("run-*"):
        remove_run(earlier)
    logs = create_tracker(recipe, recipe.name, root)
    opener = LogOpener(logs, recipe)
    results = []
    with _trainer(recipe, place, root) as train:
        for number in range(1, runs + 1):
            own = root / f"run-{number}"
            title = f"{name} {own.name}"
            # The trace records the initial weights, the settings and the loss of every step, from
            # which the first differing step is found.
            spec = RunSpec(recipe, store.folder, own, trace=True)
            results.append(train(spec, partial(opener, own, title, "repeat", {})))
    return results


@contextmanager
def _trainer(recipe: Recipe, place: ExecutionMode, root: Path) -> Iterator[_Train]:
    """Yield the function that trains a run in the requested kind of process."""
    if place == "here":
        yield lambda spec, open_log: train_run(spec, open_log(), log_evaluation)
    elif place == "cold":
        yield train_on_ray
    else:
        with _warm(recipe, root) as train:
            yield train


@contextmanager
def _warm(recipe: Recipe, root: Path) -> Iterator[_Train]:
    """Yield a function that trains runs one after the other in the workers of one warm slot."""
    from kinesweep.sweeps.workers.worker_pool import Pool, pack_task
    from kinesweep.sweeps.workers.worker_slot import RequestResult
    from kinesweep.training.run_records.task import Task

    pool = Pool(recipe.resources, 1, root / ".ray")

    def train(spec: RunSpec, open_log: Callable[[], RunLogger]) -> RunResult:
        lease = pool.client.lease(pack_task(Task.of(spec, open_log)))
        # Everything before the outcome is an evaluation report; there is no pruner to inform.
        said = lease.next()
        while not isinstance(said, RequestResult):
            said = lease.next()
        result = read_result(spec.folder)
        if said.kind != "result" or result is None:
            raise ResourceError(f"`{spec.folder.name}` did not finish: {said.reason}")
        return result

    try:
        yield train
    finally:
        pool.close()
