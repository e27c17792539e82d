"""Status of a sweep, read from its folder without a lock and without Ray."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.sweeps.journal.journal import (
    RESULT,
    Trial,
    build_trials,
    read_journal,
)
from kinesweep.sweeps.journal.progress import find_best_trial
from kinesweep.sweeps.journal.worked_time import compute_worked_hours
from kinesweep.sweeps.results.provisional import (
    ProvisionalRanking,
    is_ranking_outdated,
    read_provisional_ranking,
)

_SILENT_AFTER_S = 900.0
"""Seconds without an event after which the state of a sweep is `silent`."""


@dataclass(frozen=True)
class SweepStatus:
    """The status of a sweep; the names of the fields are the keys of `kinesweep status --json`.

    Attributes:
        sweep: Name of the sweep folder.
        state: `search`, `finals`, `finished`, or `silent` if no event was written for a while.
        running: Number of trials and final runs in progress, without duplicates of trials.
        finished: Number of finished trials, without duplicates.
        pruned: Number of pruned trials, without duplicates.
        failed: Number of failed trials and final runs, without duplicates of trials.
        of: Number of planned trials; None for a full grid or before the search.
        runs: Number of finished final runs.
        rung: Samples beyond the warm-up that the furthest running trial has seen; None if no
            running trial has reported any.
        best: Best value of the first objective, the lowest or the highest by its direction; None if
            no trial is finished.
        hours: Hours that drivers have worked until the latest event.
        eta_hours: Estimated hours until all trials have ended; None if unknown or in the finals.
        stopped: Reason why no further trials are started; empty if there is none.
        provisional: Latest provisional ranking; None if there is none, if trials were added
            after it, or if the sweep is finished.
        study: Command that shows the Optuna study; only if a single sweep is named.
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
    provisional: ProvisionalRanking | None = None
    study: str = ""


def read_sweep_status(folder: Path, now: float | None = None) -> SweepStatus:
    """Read the journal and the provisional ranking of a sweep and compute its status.

    Args:
        folder: Folder of the sweep.
        now: Current time in seconds since the epoch; default: the clock.

    Raises:
        CheckpointError: If the folder holds no sweep, or this version does not know an event.
    """
    events = read_journal(folder)
    all_trials = build_trials(events)
    trials = [trial for trial in all_trials if trial.duplicate_of is None]
    states = Counter(trial.state for trial in trials)
    run_states = Counter(_get_run_states(events).values())
    hours = compute_worked_hours(events)
    num_planned = _get_num_planned_trials(events)
    num_ended = len(trials) - states["running"]
    best = find_best_trial(trials, events)
    stopped = next((e["reason"] for e in reversed(events) if e["event"] == "search_stopped"), "")
    # The pace of the search says nothing about the finals, which train without pruning.
    can_estimate = not run_states and not stopped and num_ended > 0
    state = _determine_state(folder, events, bool(run_states), time.time() if now is None else now)
    return SweepStatus(
        sweep=folder.name,
        state=state,
        running=states["running"] + run_states["running"],
        finished=states["finished"],
        pruned=states["pruned"],
        failed=states["failed"] + run_states["failed"],
        of=num_planned,
        runs=run_states["finished"],
        rung=_find_max_samples(trials),
        best=None if best is None else round(best.score, 2),
        hours=round(hours, 3),
        eta_hours=round(hours * (num_planned - num_ended) / num_ended, 3)
        if can_estimate and num_planned
        else None,
        stopped=stopped,
        provisional=None if state == "finished" else _read_current_ranking(folder, all_trials),
    )


def _read_current_ranking(folder: Path, trials: Sequence[Trial]) -> ProvisionalRanking | None:
    """Read the provisional ranking; return None if there is none, or it lacks later trials."""
    ranking = read_provisional_ranking(folder)
    return None if ranking is None or is_ranking_outdated(ranking, trials) else ranking


def _get_run_states(events: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return name of a run folder → state (`running`, `waiting`, `finished`, `failed`).

    Only final runs that have been started are included.
    """
    states = {"run_started": "running", "run_died": "waiting"}
    states |= {"run_finished": "finished", "run_failed": "failed"}
    return {e["run"]: states[e["event"]] for e in events if e["event"] in states}


def _get_num_planned_trials(events: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the number of planned trials with all extensions.

    It is None for a full grid, and before the search has started.
    """
    num_trials = next(
        (e["trials"] for e in reversed(events) if e["event"] == "search_started"), None
    )
    return None if num_trials is None else int(num_trials)


def _find_max_samples(trials: Sequence[Trial]) -> float | None:
    """Return the largest number of samples beyond the warm-up that a running trial has reported.

    It is None if no running trial has reported any.
    """
    running = [max(t.losses) for t in trials if t.state == "running" and t.losses]
    return max(running, default=None)


def _determine_state(
    folder: Path, events: Sequence[Mapping[str, Any]], has_finals: bool, now: float
) -> str:
    """Return the state of a sweep: `search`, `finals`, `finished` or `silent`.

    Args:
        folder: Folder of the sweep.
        events: All events of the journal.
        has_finals: Whether a final run has been started.
        now: Current time in seconds since the epoch.
    """
    last_event = events[-1]["event"] if events else ""
    # Both are needed: the outcome is written after these events, and while an extended sweep runs,
    # the older outcome still exists.
    if last_event in ("ranked", "tested") and (folder / RESULT).exists():
        return "finished"
    if events and now - events[-1]["time"] > _SILENT_AFTER_S:
        return "silent"
    return "finals" if has_finals else "search"
