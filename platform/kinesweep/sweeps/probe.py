"""How fast runs go here: a few short ones in warm slots, with the clock beside them.

Probed are the recipe as it is and a few points spread over the space, since a larger model or
batch is slower; and the recipe once more with the whole decoding of a final run.
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

from kinesweep.core.errors import CheckpointError
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import NullRunLog, RunLog, RunStatus
from kinesweep.sweeps.agenda import Agenda, End, Proposal
from kinesweep.sweeps.arms import fixed_values
from kinesweep.sweeps.run_folders import RUNS
from kinesweep.sweeps.space import SearchSpace
from kinesweep.sweeps.sweep import MakeJob, OpenRunner

_POINTS = 3
_MOST_STEPS = 200
_RECIPE, _FINAL = "recipe", "with all decoding"
_LENGTH = frozenset({"training.max_steps", "training.eval_steps"})


@dataclass(frozen=True)
class Pace:
    """How one configuration goes.

    Attributes:
        start_s: from the beginning of a run to its first batch.
        step_s: a step.
        evaluation_s: an evaluation during training.
        end_s: from the last step to the result, in the search.
        samples: clips of a step.
    """

    start_s: float
    step_s: float
    evaluation_s: float
    end_s: float
    samples: float


@dataclass(frozen=True)
class Probe:
    """What was measured.

    Attributes:
        paces: of the recipe first, then of points of the space.
        decode_s: the whole validation with the recipe's beams.
        open_s: a pool's start and end.
        between_s: from one run to the next in a slot.
        model_bytes: the largest model that a run left.
        seconds: that probing took.
    """

    paces: Sequence[Pace]
    decode_s: float
    open_s: float
    between_s: float
    model_bytes: int
    seconds: float


def probe(space: SearchSpace, make_job: MakeJob, search: Agenda, open_runner: OpenRunner) -> Probe:
    """Trains the short runs.

    Args:
        space: for its resources and fixed values.
        make_job: of the sweep, in an empty folder.
        search: proposes the points that are probed.
        open_runner: `runner.Runner`.

    Raises:
        CheckpointError: the recipe itself could not be trained.
    """
    runs = _Runs(_proposals(space, search))
    clock = make_job.folder / "clock"
    short = MakeJob(_shortened(make_job.recipe), make_job.stores, make_job.folder, OpenClock(clock))
    began = time.time()
    with open_runner(space.resources, make_job.folder / "tune") as running:
        running.drive(runs, short)
    seconds = time.time() - began
    noted = {p.key: _read(_clock_of(clock, p.seed)) for p in runs.finished}
    if not {_RECIPE, _FINAL} <= set(noted):
        raise CheckpointError(f"the recipe cannot be probed: {'; '.join(runs.reasons)}")
    paces = {key: _pace(rows) for key, rows in noted.items()}
    final = paces.pop(_FINAL)
    ends = [row["time"] for rows in noted.values() for row in rows]
    models = [path.stat().st_size for path in (make_job.folder / RUNS).glob("*/best/*.safetensors")]
    return Probe(
        paces=list(paces.values()),
        decode_s=max(0.0, final.end_s - paces[_RECIPE].end_s),
        open_s=seconds - (max(ends) - min(ends)),
        between_s=_between(list(noted.values())),
        model_bytes=max(models),
        seconds=seconds,
    )


@dataclass
class _Runs:
    """An agenda of runs that are trained once."""

    waiting: list[Proposal]
    running: dict[str, Proposal] = field(default_factory=dict)
    finished: list[Proposal] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return not self.waiting and not self.running

    def propose(self) -> Proposal | None:
        if not self.waiting:
            return None
        proposal = self.waiting.pop(0)
        self.running[proposal.key] = proposal
        return proposal

    def report(self, key: str, evaluation: Mapping[str, float]) -> bool:
        return True

    def end(self, key: str, end: End) -> None:
        proposal = self.running.pop(key)
        if end.state == "finished":
            self.finished.append(proposal)
        else:
            self.reasons.append(f"{key} {end.state}: {end.reason}")


def _proposals(space: SearchSpace, search: Agenda) -> list[Proposal]:
    """What is probed; seeds differ, so that equal configurations have folders of their own."""
    fixed = fixed_values(space)
    proposals = [Proposal(_RECIPE, fixed, 1, "search"), Proposal(_FINAL, fixed, 2, "finals")]
    for number in range(_POINTS):
        found = search.propose()
        if found is not None:
            values = {name: v for name, v in found.values.items() if name not in _LENGTH}
            proposals.append(Proposal(f"point {number}", values, 3 + number, "search"))
    return proposals


def _shortened(recipe: Recipe) -> Recipe:
    """The recipe with few steps and two evaluations."""
    steps = min(_MOST_STEPS, recipe.training.max_steps)
    plain = recipe.model_dump(mode="json", by_alias=True)
    plain["training"] |= {"max_steps": steps, "eval_steps": max(1, steps // 2)}
    plain["training"] |= {"logging_steps": max(1, steps // 10)}
    plain["tracking"] = "none"
    return Recipe.model_validate(plain)


@dataclass(frozen=True)
class OpenClock:
    """Opens a `ClockLog` for a run."""

    folder: Path

    def __call__(self, folder: Path, title: str, phase: str, params: Mapping[str, Any]) -> RunLog:
        """The log of one run."""
        return ClockLog(self.folder / f"{folder.name}.jsonl")


class ClockLog(NullRunLog):
    """Writes down when a run began, what it measured by the clock, and when it ended.

    Args:
        path: of its file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._note({})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """One line."""
        self._note({"step": step, **values})

    def finish(self, status: RunStatus) -> None:
        """The last one."""
        self._note({"finish": status})

    def _note(self, row: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), "pid": os.getpid(), **row}) + "\n")


def read_pace(path: Path) -> Pace:
    """How fast the run of a `ClockLog` went."""
    return _pace(_read(path))


def _clock_of(folder: Path, seed: int) -> Path:
    """The file of the run of a seed."""
    return next(folder.glob(f"*-s{seed}.jsonl"))


def _read(path: Path) -> list[dict[str, Any]]:
    """What a run wrote down."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _pace(rows: Sequence[Mapping[str, Any]]) -> Pace:
    """From a run's rows; whatever is no step between two evaluations belongs to the evaluation."""
    losses = [row for row in rows if "samples_per_s" in row]
    evaluations = [row for row in rows if "evaluation_s" in row]
    last = evaluations[-1]
    samples = last["samples"] / last["step"]
    step_s = samples / median(row["samples_per_s"] for row in losses)
    first = losses[0]
    between = last["time"] - first["time"] - (last["step"] - first["step"]) * step_s
    return Pace(
        start_s=max(0.0, first["time"] - rows[0]["time"] - first["step"] * step_s),
        step_s=step_s,
        # Of few steps the difference may be less than what was measured, or nothing.
        evaluation_s=max(
            median(row["evaluation_s"] for row in evaluations), between / len(evaluations)
        ),
        end_s=rows[-1]["time"] - last["time"],
        samples=samples,
    )


def _between(runs: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """From a run's end to the next one's beginning in the same worker; 0 where none followed."""
    ordered = sorted(runs, key=lambda rows: (rows[0]["pid"], rows[0]["time"]))
    gaps = [
        after[0]["time"] - before[-1]["time"]
        for before, after in pairwise(ordered)
        if before[0]["pid"] == after[0]["pid"]
    ]
    return median(gaps) if gaps else 0.0
