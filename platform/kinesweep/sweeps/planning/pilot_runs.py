"""Pilot runs: measurements of how fast runs train, from a few short runs in warm slots.

The pilot runs cover the recipe itself, a few points spread over the search space, because larger
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
from kinesweep.sweeps.space.arms import fixed_values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.sweep import MakeJob, OpenRunner

_POINTS = 3
_MOST_STEPS = 200
_RECIPE, _FINAL = "recipe", "with all decoding"
_LENGTH = frozenset({"training.max_steps", "training.eval_steps"})
"""Swept keys that pilot runs ignore, because they have a length of their own."""


@dataclass(frozen=True)
class StepTiming:
    """The speed of one configuration.

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
class Probe:
    """The measurements of all pilot runs.

    Attributes:
        paces: Speed of the recipe, then of points of the space.
        decode_s: Seconds to decode the whole validation split with the recipe's beams.
        open_s: Seconds to start and close the worker pool.
        between_s: Seconds between two runs in a slot.
        model_bytes: Size of the largest saved model in bytes.
        seconds: Duration of all pilot runs together.
    """

    paces: Sequence[StepTiming]
    decode_s: float
    open_s: float
    between_s: float
    model_bytes: int
    seconds: float


def probe(
    space: SearchSpace, make_job: MakeJob, search: SweepPolicy, open_runner: OpenRunner
) -> Probe:
    """Run the pilot runs.

    Args:
        space: Search space, for its resources and fixed values.
        make_job: Factory of runs, in an empty folder.
        search: Policy that proposes the points to measure.
        open_runner: Function that opens the runner; `tune_runner.Runner` except in tests.

    Raises:
        CheckpointError: If the recipe itself could not be trained.
    """
    # No pilot run is retried, and its tracking is replaced by a log of times.
    runs = _Runs(_proposals(space, search))
    clock = make_job.folder / "clock"
    short = MakeJob(_shortened(make_job.recipe), make_job.stores, make_job.folder, OpenClock(clock))
    began = time.time()
    with open_runner(space.resources, make_job.folder / "tune") as running:
        running.drive(runs, short)
    seconds = time.time() - began
    noted = {p.key: _read(_clock_of(clock, p.seed)) for p in runs.finished}
    if not {_RECIPE, _FINAL} <= set(noted):
        raise CheckpointError(f"the pilot runs of the recipe failed: {'; '.join(runs.reasons)}")
    # Points that cannot be trained are left out; only the two runs of the recipe are required.
    paces = {key: _pace(rows) for key, rows in noted.items()}
    final = paces.pop(_FINAL)
    ends = [row["time"] for rows in noted.values() for row in rows]
    models = [path.stat().st_size for path in (make_job.folder / RUNS).glob("*/best/*.safetensors")]
    # The two runs of the recipe differ only in the complete decoding at the end of the second.
    return Probe(
        paces=list(paces.values()),
        decode_s=max(0.0, final.end_s - paces[_RECIPE].end_s),
        # What the runs themselves do not cover is spent on starting and closing the pool.
        open_s=seconds - (max(ends) - min(ends)),
        between_s=_median_gap_s(list(noted.values())),
        model_bytes=max(models),
        seconds=seconds,
    )


@dataclass
class _Runs:
    """An policy of runs that are trained once; a run that fails or dies is not retried."""

    waiting: list[RunRequest]
    running: dict[str, RunRequest] = field(default_factory=dict)
    finished: list[RunRequest] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        return not self.waiting and not self.running

    def propose(self) -> RunRequest | None:
        if not self.waiting:
            return None
        request = self.waiting.pop(0)
        self.running[request.key] = request
        return request

    def report(self, key: str, evaluation: Mapping[str, float]) -> bool:
        return True

    def tell(self, key: str, end: RunEnd) -> None:
        request = self.running.pop(key)
        if end.state == "finished":
            self.finished.append(request)
        else:
            self.reasons.append(f"{key} {end.state}: {end.reason}")


def _proposals(space: SearchSpace, search: SweepPolicy) -> list[RunRequest]:
    """Return the pilot runs; different seeds give equal configurations different run folders."""
    fixed = fixed_values(space)
    requests = [RunRequest(_RECIPE, fixed, 1, "search"), RunRequest(_FINAL, fixed, 2, "finals")]
    for number in range(_POINTS):
        found = search.propose()
        if found is not None:
            values = {name: v for name, v in found.values.items() if name not in _LENGTH}
            requests.append(RunRequest(f"point {number}", values, 3 + number, "search"))
    return requests


def _shortened(recipe: Recipe) -> Recipe:
    """Return the recipe with few steps, two evaluations and no tracking."""
    steps = min(_MOST_STEPS, recipe.training.max_steps)
    plain = recipe.model_dump(mode="json", by_alias=True)
    plain["training"] |= {"max_steps": steps, "eval_steps": max(1, steps // 2)}
    plain["training"] |= {"logging_steps": max(1, steps // 10)}
    plain["tracking"] = "none"
    return Recipe.model_validate(plain)


@dataclass(frozen=True)
class OpenClock:
    """A picklable function that opens the `StepTimer` of a run."""

    folder: Path

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the log of one run."""
        return StepTimer(self.folder / f"{folder.name}.jsonl")


class StepTimer(NullRunLogger):
    """A run log that records the time of the start, of every metric and of the end of a run.

    Args:
        path: File of the log, one JSON line per record.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._note({})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics with the time."""
        self._note({"step": step, **values})

    def finish(self, status: RunStatus) -> None:
        """Record the end of the run."""
        self._note({"finish": status})

    def _note(self, row: Mapping[str, Any]) -> None:
        """Append a record with the current time and the worker's process id."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), "pid": os.getpid(), **row}) + "\n")


def read_pace(path: Path) -> StepTiming:
    """Read the speed of a run from the file of its `StepTimer`."""
    return _pace(_read(path))


def _clock_of(folder: Path, seed: int) -> Path:
    """Find the log of the run with a seed; logs are called like run folders, `CONFIG-sSEED`."""
    return next(folder.glob(f"*-s{seed}.jsonl"))


def _read(path: Path) -> list[dict[str, Any]]:
    """Read the records of a run."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _pace(rows: Sequence[Mapping[str, Any]]) -> StepTiming:
    """Compute a run's speed; time between steps and evaluations is counted as evaluation."""
    losses = [row for row in rows if "samples_per_s" in row]
    evaluations = [row for row in rows if "evaluation_s" in row]
    last = evaluations[-1]
    samples = last["samples"] / last["step"]
    # The median is robust to slow first steps.
    step_s = samples / median(row["samples_per_s"] for row in losses)
    first = losses[0]
    # Time between the first logged step and the last evaluation that is not spent on steps.
    between = last["time"] - first["time"] - (last["step"] - first["step"]) * step_s
    return StepTiming(
        start_s=max(0.0, first["time"] - rows[0]["time"] - first["step"] * step_s),
        step_s=step_s,
        # With few steps this remainder can be smaller than the measured time, or even negative.
        evaluation_s=max(
            median(row["evaluation_s"] for row in evaluations), between / len(evaluations)
        ),
        end_s=rows[-1]["time"] - last["time"],
        samples=samples,
    )


def _median_gap_s(runs: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Return the median time in seconds between two runs of a worker process; 0 without any."""
    # A worker process is recognized by its pid; runs of one process follow each other in time.
    ordered = sorted(runs, key=lambda rows: (rows[0]["pid"], rows[0]["time"]))
    gaps = [
        after[0]["time"] - before[-1]["time"]
        for before, after in pairwise(ordered)
        if before[0]["pid"] == after[0]["pid"]
    ]
    return median(gaps) if gaps else 0.0
