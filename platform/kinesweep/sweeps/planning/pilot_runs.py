"""Pilot runs: a few short runs in warm slots that measure how fast runs train.

The pilot runs train the recipe itself, a few points spread over the search space, because larger
models or batches are slower, and the recipe once more with the complete decoding of a final run.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from kinesweep.config.any_recipe import require_translation
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.core.errors import CheckpointError
from kinesweep.data.run_length.step_counts import resolve_training
from kinesweep.sweeps.job_factory import JobFactory
from kinesweep.sweeps.journal.run_folders import RUNS
from kinesweep.sweeps.planning.step_timer import (
    StepTimerFactory,
    StepTiming,
    compute_step_timing,
    read_timer_records,
)
from kinesweep.sweeps.policy_runner import RunnerFactory
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.sweeps.space.parameter import Values
from kinesweep.sweeps.space.space import SearchSpace

_NUM_POINTS = 3
"""Number of points of the search space that are measured."""
_MAX_STEPS = 200
"""Maximum number of steps of a pilot run."""
_RECIPE_KEY, _FINAL_KEY = "recipe", "with all decoding"
"""Keys of the two runs of the recipe: one like a search run and one like a final run."""
_LENGTH_KEYS = frozenset(
    {
        *("training.max_steps", "training.num_train_epochs"),
        *("training.eval_steps", "training.eval_epochs"),
    }
)
"""Swept keys that pilot runs ignore, because the length of pilot runs is fixed."""


@dataclass(frozen=True)
class PilotMeasurements:
    """The measurements of all pilot runs.

    Attributes:
        timings: Durations of the recipe, which come first, and of those points of the space that
            could be trained.
        decode_s: Seconds to decode the whole validation split with the recipe's beams.
        pool_overhead_s: Seconds to start and close the worker pool.
        gap_s: Seconds between two runs in a slot.
        model_bytes: Size of the largest saved model in bytes.
        seconds: Duration of all pilot runs together.
    """

    timings: Sequence[StepTiming]
    decode_s: float
    pool_overhead_s: float
    gap_s: float
    model_bytes: int
    seconds: float


def measure_pilot_runs(
    space: SearchSpace, job_factory: JobFactory, search: SweepPolicy, open_runner: RunnerFactory
) -> PilotMeasurements:
    """Train the pilot runs and return their measurements.

    Args:
        space: Search space, for its resources and fixed values.
        job_factory: Factory of training jobs in an empty folder.
        search: New search policy, whose first proposals are the points to measure.
        open_runner: Function that opens the runner; `tune_runner.TuneRunner` except in tests.

    Raises:
        CheckpointError: If the recipe itself could not be trained.
        InputError: If the recipe is one of pretraining.
    """
    # Pilot runs are not retried, and a log of times replaces their tracking.
    policy = _PilotPolicy(_build_requests(space, search))
    log_dir = job_factory.folder / "clock"
    recipe = require_translation(job_factory.recipe, "kinesweep plan")
    fixed_recipe = apply_overrides(recipe, space.fixed_values)
    training = resolve_training(
        fixed_recipe, job_factory.stores.get_store(fixed_recipe.features), space.resources.workers
    )
    short_factory = JobFactory(
        apply_overrides(recipe, _get_pilot_values(training)),
        job_factory.stores,
        job_factory.folder,
        StepTimerFactory(log_dir),
    )
    start_time = time.time()
    with open_runner(space.resources, job_factory.folder / "tune") as runner:
        runner.run_policy(policy, short_factory)
    seconds = time.time() - start_time
    records = {
        request.key: read_timer_records(_find_timer_log(log_dir, request.seed))
        for request in policy.finished
    }
    if not {_RECIPE_KEY, _FINAL_KEY} <= set(records):
        raise CheckpointError(
            f"the pilot runs of the recipe failed: {'; '.join(policy.failure_reasons)}"
        )
    # Points that cannot be trained are left out; only the two runs of the recipe are required.
    timings = {key: compute_step_timing(run_records) for key, run_records in records.items()}
    final_timing = timings.pop(_FINAL_KEY)
    record_times = [record["time"] for run_records in records.values() for record in run_records]
    # The two runs of the recipe differ only in the complete decoding at the end of the second.
    return PilotMeasurements(
        timings=list(timings.values()),
        # Both times are measured, so noise can make a small difference negative.
        decode_s=max(0.0, final_timing.end_s - timings[_RECIPE_KEY].end_s),
        # The time outside the runs is spent on starting and closing the pool.
        pool_overhead_s=seconds - (max(record_times) - min(record_times)),
        gap_s=_compute_median_gap_s(list(records.values())),
        model_bytes=_find_max_model_bytes(job_factory.folder),
        seconds=seconds,
    )


@dataclass
class _PilotPolicy:
    """A policy that trains each pilot run once; runs that fail or die are not retried."""

    queue: list[RunRequest]
    running: dict[str, RunRequest] = field(default_factory=dict)
    finished: list[RunRequest] = field(default_factory=list)
    failure_reasons: list[str] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Return whether all pilot runs have ended."""
        return not self.queue and not self.running

    def propose(self) -> RunRequest | None:
        """Return the request of the next pilot run, or None if all have been started."""
        if not self.queue:
            return None
        request = self.queue.pop(0)
        self.running[request.key] = request
        return request

    def report_evaluation(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """Return True, because pilot runs are never pruned."""
        return True

    def tell(self, key: str, end: RunEnd) -> None:
        """Record that a pilot run finished, or the reason why it did not."""
        request = self.running.pop(key)
        if end.state == "finished":
            self.finished.append(request)
        else:
            self.failure_reasons.append(f"{key} {end.state}: {end.reason}")


def _build_requests(space: SearchSpace, search: SweepPolicy) -> list[RunRequest]:
    """Build the requests of the pilot runs: two of the recipe, then points that a search proposes.

    The fixed values of the space apply to all of them, except for those of the length.
    """
    fixed = _drop_lengths(space.fixed_values)
    # Seeds differ so that all runs have their own folders.
    requests = [
        RunRequest(_RECIPE_KEY, fixed, 1, "search"),
        RunRequest(_FINAL_KEY, fixed, 2, "finals"),
    ]
    for number in range(_NUM_POINTS):
        proposal = search.propose()
        if proposal is not None:
            values = _drop_lengths(proposal.values)
            requests.append(RunRequest(f"point {number}", values, 3 + number, "search"))
    return requests


def _drop_lengths(values: Values) -> Values:
    """Return the values without those that would replace the length of pilot runs."""
    return {name: value for name, value in values.items() if name not in _LENGTH_KEYS}


def _get_pilot_values(training: ResolvedTrainingConfig) -> Values:
    """Return the values that give a recipe few steps, about two evaluations and no tracking.

    Args:
        training: Resolved training settings of the recipe.
    """
    num_steps = min(_MAX_STEPS, training.max_steps)
    return {
        "training.max_steps": num_steps,
        "training.eval_steps": max(1, num_steps // 2),
        "training.logging_steps": max(1, num_steps // 10),
        "tracking": "none",
    }


def _find_timer_log(log_dir: Path, seed: int) -> Path:
    """Return the path of a pilot run's log; logs are called `CONFIG-sSEED.jsonl`."""
    return next(log_dir.glob(f"*-s{seed}.jsonl"))


def _find_max_model_bytes(folder: Path) -> int:
    """Return the size of the largest file of model weights in the run folders, in bytes."""
    return max(path.stat().st_size for path in (folder / RUNS).glob("*/best/*.safetensors"))


def _compute_median_gap_s(runs: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Compute the median time in seconds between two runs of one worker process.

    Args:
        runs: Records of each run.

    Returns:
        Median; 0 if no process has trained two runs.
    """
    # A worker process is recognized by its pid; runs of one process follow each other in time.
    sorted_runs = sorted(runs, key=lambda records: (records[0]["pid"], records[0]["time"]))
    gaps_s = [
        next_run[0]["time"] - run[-1]["time"]
        for run, next_run in pairwise(sorted_runs)
        if run[0]["pid"] == next_run[0]["pid"]
    ]
    return median(gaps_s) if gaps_s else 0.0
