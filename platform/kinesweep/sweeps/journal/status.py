"""Status of a sweep, read from its journal alone, without a lock and without Ray."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.sweeps.journal.journal import RESULT, Trial, read_journal, read_trials, worked_hours
from kinesweep.sweeps.journal.progress import find_best
from kinesweep.sweeps.results.provisional import Provisional, is_outdated, read_provisional

_QUIET_S = 900.0
"""Seconds without an event after which a sweep is called silent instead of running."""


@dataclass(frozen=True)
class Status:
    """The status of a sweep.

    Attributes:
        sweep: Name of the sweep folder.
        state: `search`, `finals`, `finished`, or `silent` if no event was written for a while.
        running: Number of trials and final runs in progress.
        finished: Number of finished trials.
        pruned: Number of pruned trials.
        failed: Number of failed trials and final runs.
        of: Number of planned trials; None for a full grid.
        runs: Number of finished final runs.
        rung: Samples beyond the warm-up that the furthest running trial has seen.
        best: Best value of the first objective: the lowest cost or the highest score.
        hours: Hours that drivers have worked.
        eta_hours: Hours until all trials have ended, at the pace so far; None if unknown.
        stopped: Reason why no further trials are started; empty if there is none.
        provisional: Latest provisional ranking; None if there is none, if trials were added
            after it, or if the sweep has a result.
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
    """Read the status of a sweep.

    Args:
        folder: Folder of the sweep.
        now: Current time in seconds since the epoch; default: the clock.

    Raises:
        CheckpointError: If the folder holds no sweep.
    """
    events = read_journal(folder)
    trials = [trial for trial in read_trials(events) if trial.duplicate_of is None]
    states = Counter(trial.state for trial in trials)
    runs = _runs(events)
    hours = worked_hours(events)
    wanted = _wanted(events)
    done = len(trials) - states["running"]
    best = find_best(trials)
    stopped = next((e["reason"] for e in reversed(events) if e["event"] == "search_stopped"), "")
    # The pace of the search says nothing about the finals, which train without pruning.
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
    """Return final run → state according to its last event."""
    states = {"run_started": "running", "run_died": "waiting"}
    states |= {"run_finished": "finished", "run_failed": "failed"}
    return {e["run"]: states[e["event"]] for e in events if e["event"] in states}


def _wanted(events: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the number of planned trials, extensions included."""
    asked = next((e["trials"] for e in reversed(events) if e["event"] == "search_started"), None)
    return None if asked is None else int(asked)


def _rung(trials: Sequence[Trial]) -> float | None:
    """Return the largest number of samples that a running trial has reported."""
    running = [max(t.losses) for t in trials if t.state == "running" and t.losses]
    return max(running, default=None)


def _state(folder: Path, events: Sequence[Mapping[str, Any]], finals: bool, now: float) -> str:
    """Return the state; a finished sweep is never silent."""
    last = events[-1]["event"] if events else ""
    # Both are needed: the result is written after these events, and while an extended sweep runs,
    # the older result still exists.
    if last in ("ranked", "tested") and (folder / RESULT).exists():
        return "finished"
    if events and now - events[-1]["time"] > _QUIET_S:
        return "silent"
    return "finals" if finals else "search"
