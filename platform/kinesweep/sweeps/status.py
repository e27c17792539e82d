"""How far a sweep is, read from its journal alone: no lock, no Ray."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.sweeps.journal import RESULT, Trial, read_journal, read_trials, worked_hours
from kinesweep.sweeps.progress import find_best
from kinesweep.sweeps.provisional import Provisional, is_outdated, read_provisional

_QUIET_S = 900.0
"""A sweep whose journal has been silent for so long is called silent, not running."""


@dataclass(frozen=True)
class Status:
    """A sweep in a line.

    Attributes:
        sweep: name of its folder.
        state: `search`, `finals`, `finished`, or `silent`: nobody has written for a while.
        running: trials and final runs that go on.
        finished: trials.
        pruned: trials.
        failed: trials and final runs.
        of: trials that are wanted; None: a whole grid.
        runs: final runs that are finished.
        rung: samples that the furthest running trial has seen beyond its warm-up.
        best: best value of the first objective: the lowest one of a cost, else the highest.
        hours: that drivers have worked.
        eta_hours: until all trials are done, at the pace so far; None: unknown.
        stopped: why no further trials are started.
        provisional: ranking so far, from the search and from each round of the finals; None
            before, where trials came after it, and once there is a result.
    """

    sweep: str
    state: str
    running: int
    finished: int
    pruned: int
    failed: int
    of: int | None
    runs: int
    rung: float | None
    best: float | None
    hours: float
    eta_hours: float | None
    stopped: str
    provisional: Provisional | None = None


def read_status(folder: Path, now: float | None = None) -> Status:
    """One line about a sweep.

    Raises:
        CheckpointError: no sweep there.
    """
    events = read_journal(folder)
    trials = [trial for trial in read_trials(events) if trial.twin is None]
    states = Counter(trial.state for trial in trials)
    runs = _runs(events)
    hours = worked_hours(events)
    wanted = _wanted(events)
    done = len(trials) - states["running"]
    best = find_best(trials)
    stopped = next((e["reason"] for e in reversed(events) if e["event"] == "search_stopped"), "")
    searching = not runs and not stopped and wanted is not None and done > 0
    state = _state(folder, events, bool(runs), time.time() if now is None else now)
    return Status(
        sweep=folder.name,
        state=state,
        running=states["running"] + sum(state == "running" for state in runs.values()),
        finished=states["finished"],
        pruned=states["pruned"],
        failed=states["failed"] + sum(state == "failed" for state in runs.values()),
        of=wanted,
        runs=sum(state == "finished" for state in runs.values()),
        rung=_rung(trials),
        best=None if best is None else round(best.score, 2),
        hours=round(hours, 3),
        eta_hours=round(hours * (wanted - done) / done, 3) if searching and wanted else None,
        stopped=stopped,
        provisional=None if state == "finished" else _provisional(folder, read_trials(events)),
    )


def _provisional(folder: Path, trials: Sequence[Trial]) -> Provisional | None:
    """Read the ranking so far, unless an extended search has outdated it."""
    made = read_provisional(folder)
    return None if made is None or is_outdated(made, trials) else made


def _runs(events: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Final run → state."""
    states = {"run_started": "running", "run_died": "waiting"}
    states |= {"run_finished": "finished", "run_failed": "failed"}
    return {e["run"]: states[e["event"]] for e in events if e["event"] in states}


def _wanted(events: Sequence[Mapping[str, Any]]) -> int | None:
    """Trials that the space and later calls ask for."""
    asked = next((e["trials"] for e in reversed(events) if e["event"] == "search_started"), None)
    return None if asked is None else int(asked)


def _rung(trials: Sequence[Trial]) -> float | None:
    running = [max(t.losses) for t in trials if t.state == "running" and t.losses]
    return max(running, default=None)


def _state(folder: Path, events: Sequence[Mapping[str, Any]], finals: bool, now: float) -> str:
    last = events[-1]["event"] if events else ""
    if last in ("ranked", "tested") and (folder / RESULT).exists():
        return "finished"
    if events and now - events[-1]["time"] > _QUIET_S:
        return "silent"
    return "finals" if finals else "search"
