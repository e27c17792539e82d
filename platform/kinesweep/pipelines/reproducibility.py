"""Check that training is reproducible: several runs of a recipe must be bit-identical."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError, ResourceError
from kinesweep.core.html_table import format_html_table
from kinesweep.core.paths import get_state_dir
from kinesweep.core.run_logger import RunLogger
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.tracking import RunLogOpener, check_trackers, create_tracker
from kinesweep.pipelines.training import log_evaluation, make_run_name, remove_run
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import train_run
from kinesweep.training.reproducibility.run_comparison import Divergence, compare_runs
from kinesweep.training.run_records.result import RunResult, RunSpec, read_run_result
from kinesweep.training.run_records.run_failure import train_or_raise

# New workers for each run, the same workers for all runs, or this process.
ExecutionMode = Literal["cold", "warm", "in_process"]
_TrainFunction = Callable[[RunSpec, Callable[[], RunLogger]], RunResult]


@dataclass(frozen=True)
class Repetition:
    """Runs with the same settings, and the first differences between them.

    Attributes:
        results: Results in the order of the runs.
        divergences: First difference of each run that differs from the first run.
    """

    results: list[RunResult]
    divergences: list[Divergence]

    @property
    def is_identical(self) -> bool:
        """Return whether all runs are bit-identical to the first one."""
        return not self.divergences

    def format_lines(self) -> list[str]:
        """Format the differences as lines of text, or as one line that says there are none."""
        if self.is_identical:
            return [f"all {len(self.results)} runs are bit-identical"]
        return [line for divergence in self.divergences for line in divergence.format_lines()]

    def _repr_html_(self) -> str:
        """Return the runs and their differences as HTML, which notebooks show."""
        rows = [
            (result.folder.name, result.step, result.weights_sha256[:16]) for result in self.results
        ]
        differences = "<br>".join(escape(line) for line in self.format_lines())
        return f"{format_html_table(('run', 'steps', 'weights'), rows)}<p>{differences}</p>"

    def to_json(self) -> dict[str, Any]:
        """Return results and differences as values that JSON can represent."""
        divergences = [asdict(divergence) for divergence in self.divergences]
        return {"runs": [result.to_json() for result in self.results], "partings": divergences}


def repeat_training(
    recipe: Recipe, num_runs: int, mode: ExecutionMode, folder: Path | None, overwrite: bool
) -> Repetition:
    """Train a recipe several times from scratch and compare the runs.

    Logs what `extract_features` and `create_tracker` log, and in this process the scores of each
    evaluation.

    Args:
        recipe: Recipe with one configuration and one seed.
        num_runs: Number of runs.
        mode: Process that trains the runs: `cold`, new workers for each run; `warm`, the same
            workers for all runs; `in_process`, this process.
        folder: Parent of the run folders; None: a folder named after recipe, data and seed.
        overwrite: Whether to remove existing runs (`run-*` in the folder).

    Raises:
        InputError: If the recipe allows kernels that do not repeat, the folder is not empty and
            `overwrite` is not set, or a folder to remove is not a run folder.
        KinesweepError: If `extract_features`, `create_tracker` or a run raises it.
        ResourceError: If a run in warm workers does not finish.
        TrainingError: If a run diverged, or if its workers were killed twice.
    """
    if not recipe.performance.deterministic:
        raise InputError(
            "`performance.deterministic` is false, so the runs would differ; repeat the recipe with"
            " `performance.deterministic=true`"
        )
    check_trackers(recipe.tracking)
    store = extract_features(recipe, on_ray=mode != "in_process")
    name = make_run_name(recipe, store)
    root = (folder or get_state_dir() / "repeats" / name).absolute()
    if root.exists() and any(root.iterdir()) and not overwrite:
        raise InputError(
            f"`{root}` already contains runs, and a repetition starts from scratch; pass another"
            " `--folder` or `--overwrite`"
        )
    for old_run_dir in root.glob("run-*"):
        remove_run(old_run_dir)
    tracker = create_tracker(recipe, recipe.name, root)
    opener = RunLogOpener(tracker, recipe)
    results = []
    with _provide_train_function(recipe, mode, root) as train:
        for run_number in range(1, num_runs + 1):
            run_dir = root / f"run-{run_number}"
            title = f"{name} {run_dir.name}"
            # The trace records the initial weights, the settings and the loss of every step, from
            # which the first differing step is found.
            spec = RunSpec(recipe, store.folder, run_dir, trace=True)
            open_log = partial(opener, run_dir, title, "repeat", {})
            # Two runs that diverged alike would otherwise be reported as bit-identical.
            results.append(
                train_or_raise(partial(train, spec, open_log), recipe.training.learning_rate)
            )
    return Repetition(results, compare_runs(results))


@contextmanager
def _provide_train_function(
    recipe: Recipe, mode: ExecutionMode, root: Path
) -> Iterator[_TrainFunction]:
    """Yield the function that trains a run in the requested execution mode.

    Args:
        recipe: Recipe whose resources a warm worker reserves.
        mode: Process that trains the runs.
        root: Parent of the run folders, for the files of a warm worker.
    """
    if mode == "in_process":
        yield lambda spec, open_log: train_run(spec, open_log(), log_evaluation)
    elif mode == "cold":
        yield train_on_ray
    else:
        with _open_warm_worker(recipe, root) as train:
            yield train


@contextmanager
def _open_warm_worker(recipe: Recipe, root: Path) -> Iterator[_TrainFunction]:
    """Open one warm worker slot and yield a function that trains runs in it, one at a time."""
    from kinesweep.sweeps.workers.slot_request import RequestResult
    from kinesweep.sweeps.workers.worker_pool import WorkerPool, pack_task
    from kinesweep.training.run_records.task import TrainingTask

    pool = WorkerPool(recipe.resources, 1, root / ".ray")

    def train(spec: RunSpec, open_log: Callable[[], RunLogger]) -> RunResult:
        lease = pool.client.lease_slot(pack_task(TrainingTask.from_spec(spec, open_log)))
        # Every message before the result is the report of an evaluation; there is no pruner.
        message = lease.wait_for_next_report()
        while not isinstance(message, RequestResult):
            message = lease.wait_for_next_report()
        result = read_run_result(spec.folder)
        if message.kind != "result" or result is None:
            raise ResourceError(f"`{spec.folder.name}` did not finish: {message.reason}")
        return result

    try:
        yield train
    finally:
        pool.close()
