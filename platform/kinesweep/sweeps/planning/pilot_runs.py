"""Pilot runs: a few short runs in warm slots that measure how fast runs train.

The pilot runs train the recipe itself, a few points spread over the search space, because larger
models or batches are slower, and the recipe once more with the complete decoding of a final run.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.run_logger import NullRunLogger, RunLogger, RunStatus
from kinesweep.sweeps.journal.run_folders import RUNS
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy
from kinesweep.sweeps.space.arms import get_fixed_values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.sweep import JobFactory, RunnerFactory

_NUM_POINTS = 3
_MAX_STEPS = 200
_RECIPE_KEY, _FINAL_KEY = "recipe", "with all decoding"
_LENGTH_KEYS = frozenset({"training.max_steps", "training.eval_steps"})
"""Swept keys that pilot runs ignore, because the length of pilot runs is fixed."""


@dataclass(frozen=True)
class StepTiming:
    """The measured durations of one configuration.

    Attributes:
        start_s: Seconds from the start of a run to its first batch.
        step_s: Seconds per optimizer step.
        evaluation_s: Seconds per evaluation during training.
        end_s: Seconds from the last evaluation to the result of a search run.
        samples: Number of clips per step.
    """

    start_s: float
    step_s: float
    evaluation_s: float
    end_s: float
    samples: float


@dataclass(frozen=True)
class PilotMeasurements:
    """The measurements of all pilot runs.

    Attributes:
        timings: Durations of the recipe, then of points of the space.
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
        job_factory: Factory of training jobs, in an empty folder.
        search: Policy that proposes the points to measure.
        open_runner: Function that opens the runner; `tune_runner.TuneRunner` except in tests.

    Raises:
        CheckpointError: If the recipe itself could not be trained.
    """
    # Pilot runs are not retried, and a log of times replaces their tracking.
    policy = _PilotPolicy(_build_requests(space, search))
    log_dir = job_factory.folder / "clock"
    short_factory = JobFactory(
        _shorten_recipe(job_factory.recipe),
        job_factory.stores,
        job_factory.folder,
        StepTimerFactory(log_dir),
    )
    start_time = time.time()
    with open_runner(space.resources, job_factory.folder / "tune") as runner:
        runner.run_policy(policy, short_factory)
    seconds = time.time() - start_time
    records = {p.key: _read_records(_find_timer_log(log_dir, p.seed)) for p in policy.finished}
    if not {_RECIPE_KEY, _FINAL_KEY} <= set(records):
        raise CheckpointError(
            f"the pilot runs of the recipe failed: {'; '.join(policy.failure_reasons)}"
        )
    # Points that cannot be trained are left out; only the two runs of the recipe are required.
    timings = {key: _compute_step_timing(rows) for key, rows in records.items()}
    final_timing = timings.pop(_FINAL_KEY)
    record_times = [row["time"] for rows in records.values() for row in rows]
    model_sizes = [
        path.stat().st_size for path in (job_factory.folder / RUNS).glob("*/best/*.safetensors")
    ]
    # The two runs of the recipe differ only in the complete decoding at the end of the second.
    return PilotMeasurements(
        timings=list(timings.values()),
        decode_s=max(0.0, final_timing.end_s - timings[_RECIPE_KEY].end_s),
        # The time outside the runs is spent on starting and closing the pool.
        pool_overhead_s=seconds - (max(record_times) - min(record_times)),
        gap_s=_compute_median_gap_s(list(records.values())),
        model_bytes=max(model_sizes),
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
        """Return the next pilot run, or None if all have been started."""
        if not self.queue:
            return None
        request = self.queue.pop(0)
        self.running[request.key] = request
        return request

    def report_evaluation(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """Return True, because pilot runs are never pruned."""
        return True

    def tell(self, key: str, end: RunEnd) -> None:
        """Record a finished run, or the reason why it did not finish."""
        request = self.running.pop(key)
        if end.state == "finished":
            self.finished.append(request)
        else:
            self.failure_reasons.append(f"{key} {end.state}: {end.reason}")


def _build_requests(space: SearchSpace, search: SweepPolicy) -> list[RunRequest]:
    """Build the requests of the pilot runs; seeds differ so that all have their own run folders."""
    fixed = get_fixed_values(space)
    requests = [
        RunRequest(_RECIPE_KEY, fixed, 1, "search"),
        RunRequest(_FINAL_KEY, fixed, 2, "finals"),
    ]
    for number in range(_NUM_POINTS):
        proposal = search.propose()
        if proposal is not None:
            values = {name: v for name, v in proposal.values.items() if name not in _LENGTH_KEYS}
            requests.append(RunRequest(f"point {number}", values, 3 + number, "search"))
    return requests


def _shorten_recipe(recipe: Recipe) -> Recipe:
    """Return a copy of the recipe with few steps, two evaluations and no tracking."""
    steps = min(_MAX_STEPS, recipe.training.max_steps)
    fields = recipe.model_dump(mode="json", by_alias=True)
    fields["training"] |= {"max_steps": steps, "eval_steps": max(1, steps // 2)}
    fields["training"] |= {"logging_steps": max(1, steps // 10)}
    fields["tracking"] = "none"
    return Recipe.model_validate(fields)


@dataclass(frozen=True)
class StepTimerFactory:
    """A picklable factory that opens the `StepTimer` of a run.

    Attributes:
        log_dir: Folder of the logs; each is named like the run folder.
    """

    log_dir: Path

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the `StepTimer` of one run."""
        return StepTimer(self.log_dir / f"{folder.name}.jsonl")


class StepTimer(NullRunLogger):
    """A run logger that records the times at which a run starts, logs metrics and ends.

    Args:
        path: File of the log, one JSON line per record.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._append_record({})

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics with the current time."""
        self._append_record({"step": step, **values})

    def finish(self, status: RunStatus) -> None:
        """Record the end of the run with the current time."""
        self._append_record({"finish": status})

    def _append_record(self, row: Mapping[str, Any]) -> None:
        """Append a record with the current time and the worker's process id."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), "pid": os.getpid(), **row}) + "\n")


def read_step_timing(path: Path) -> StepTiming:
    """Read the log of a `StepTimer` and return the durations of the run."""
    return _compute_step_timing(_read_records(path))


def _find_timer_log(log_dir: Path, seed: int) -> Path:
    """Return the log of the run with a seed; logs are named like run folders, `CONFIG-sSEED`."""
    return next(log_dir.glob(f"*-s{seed}.jsonl"))


def _read_records(path: Path) -> list[dict[str, Any]]:
    """Read the records of a `StepTimer` log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _compute_step_timing(rows: Sequence[Mapping[str, Any]]) -> StepTiming:
    """Compute the durations of a run; time outside of steps is counted as evaluation."""
    loss_rows = [row for row in rows if "samples_per_s" in row]
    evaluation_rows = [row for row in rows if "evaluation_s" in row]
    last = evaluation_rows[-1]
    samples = last["samples"] / last["step"]
    # The median is robust to slow first steps.
    step_s = samples / median(row["samples_per_s"] for row in loss_rows)
    first = loss_rows[0]
    # Time between the first logged step and the last evaluation that is not spent on steps.
    remaining_s = last["time"] - first["time"] - (last["step"] - first["step"]) * step_s
    return StepTiming(
        start_s=max(0.0, first["time"] - rows[0]["time"] - first["step"] * step_s),
        step_s=step_s,
        # With few steps this remainder can be smaller than the measured time, or even negative.
        evaluation_s=max(
            median(row["evaluation_s"] for row in evaluation_rows),
            remaining_s / len(evaluation_rows),
        ),
        end_s=rows[-1]["time"] - last["time"],
        samples=samples,
    )


def _compute_median_gap_s(runs: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Compute the median time in seconds between two runs of a worker process; 0 without any."""
    # A worker process is recognized by its pid; runs of one process follow each other in time.
    ordered = sorted(runs, key=lambda rows: (rows[0]["pid"], rows[0]["time"]))
    gaps = [
        after[0]["time"] - before[-1]["time"]
        for before, after in pairwise(ordered)
        if before[0]["pid"] == after[0]["pid"]
    ]
    return median(gaps) if gaps else 0.0
