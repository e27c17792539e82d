"""Progress of a running sweep, computed from its journal: counts, best trial, time left."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kinesweep.core.scores import is_lower_better
from kinesweep.sweeps.journal.journal import Trial, build_trials

Stage = Literal["search", "finals", "done"]
_RUN_END_EVENTS = frozenset({"run_finished", "run_failed"})
"""Events with which a final run ends for good, unless the sweep is resumed."""


@dataclass(frozen=True)
class BestTrial:
    """The best finished trial by the first objective.

    Attributes:
        trial: Number of the trial.
        scores: Objective → value.
    """

    trial: int
    scores: Mapping[str, float]

    @property
    def score(self) -> float:
        """Value of the first objective."""
        return next(iter(self.scores.values()))


@dataclass(frozen=True)
class SweepProgress:
    """The progress of a running sweep.

    Attributes:
        stage: Current stage; `done` once the finals are ranked.
        session_start: Start of the driver in seconds since the epoch.
        trials: State (`running`, `finished`, `pruned`, `failed`) → number of trials, without
            duplicates.
        num_planned_trials: Number of planned trials; None for a full grid, or before the driver
            has started the search.
        runs: State (`running`, `waiting`, `finished`, `failed`) → number of final runs; runs that
            the current driver has not started are not counted.
        num_planned_runs: Number of final runs; None before the driver starts the finals.
        best: Best trial by the first objective; None if no trial is finished.
        remaining_s: Estimated seconds until the stage ends, at its current pace; None if unknown.
    """

    stage: Stage
    session_start: float
    trials: Mapping[str, int]
    num_planned_trials: int | None
    runs: Mapping[str, int]
    num_planned_runs: int | None
    best: BestTrial | None
    remaining_s: float | None


def compute_progress(events: Sequence[Mapping[str, Any]], now: float) -> SweepProgress | None:
    """Compute the progress of a sweep from its events, or return None if no driver has started.

    Args:
        events: All events of the journal.
        now: Current time in seconds since the epoch.

    Raises:
        CheckpointError: If this version does not know an event.
    """
    starts = [i for i, e in enumerate(events) if e["event"] == "session_started"]
    if not starts:
        return None
    # A resumed or extended sweep has earlier sessions, whose finals are not the current ones.
    session = events[starts[-1] :]
    search_events = _select_events_since(session, "search_started")
    final_events = _select_events_since(session, "finals_started")
    trials = [trial for trial in build_trials(events) if trial.duplicate_of is None]
    states: Counter[str] = Counter(trial.state for trial in trials)
    num_planned_trials = search_events[0]["trials"] if search_events else None
    remaining_s = None
    if final_events:
        # `missing` was counted at the start of the stage, so only later ends are subtracted.
        num_ended = sum(e["event"] in _RUN_END_EVENTS for e in final_events)
        num_remaining = final_events[0]["missing"] - num_ended
        remaining_s = _estimate_remaining_s(final_events, _RUN_END_EVENTS, num_remaining, now)
    elif search_events and num_planned_trials is not None:
        num_remaining = num_planned_trials - (len(trials) - states["running"])
        remaining_s = _estimate_remaining_s(search_events, {"trial_ended"}, num_remaining, now)
    is_ranked = any(e["event"] == "ranked" for e in session)
    return SweepProgress(
        stage="done" if is_ranked else "finals" if final_events else "search",
        session_start=session[0]["time"],
        trials=states,
        num_planned_trials=num_planned_trials,
        runs=_count_final_runs(final_events),
        num_planned_runs=final_events[0]["runs"] if final_events else None,
        best=find_best_trial(trials, events),
        remaining_s=remaining_s,
    )


def _select_events_since(
    session: Sequence[Mapping[str, Any]], name: str
) -> Sequence[Mapping[str, Any]]:
    """Return the first event with the given name and all later ones; empty if there is none."""
    first = next((i for i, e in enumerate(session) if e["event"] == name), len(session))
    return session[first:]


def _count_final_runs(final_events: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Count the final runs by state; runs that died and wait for a retry count as `waiting`.

    Args:
        final_events: Events of the current session since the start of the finals; may be empty.
    """
    if not final_events:
        return Counter()
    states = {"run_started": "running", "run_finished": "finished", "run_failed": "failed"}
    last_states = {e["run"]: states.get(e["event"], "waiting") for e in final_events if "run" in e}
    # Runs that had finished in earlier sessions have no events in this stage.
    num_finished_before = final_events[0]["runs"] - final_events[0]["missing"]
    return Counter(last_states.values()) + Counter(finished=num_finished_before)


def find_best_trial(
    trials: Sequence[Trial], events: Sequence[Mapping[str, Any]]
) -> BestTrial | None:
    """Return the best finished trial by the first objective, or None if no trial is finished.

    Of two equal trials the earlier one is returned.

    Args:
        trials: Trials of the search.
        events: All events of the journal, which says whether the objective is minimized.
    """
    finished = [trial for trial in trials if trial.scores]
    if not finished:
        return None
    # The search records scores in the order of the objectives, so the first key is the main one.
    objective = next(iter(finished[0].scores))
    # Journals of earlier versions do not state it.
    known_sign = -1 if is_lower_better(objective) else 1
    starts = (event for event in events if event["event"] == "search_started")
    sign = next(starts, {}).get("sign", known_sign)
    best = max(finished, key=lambda trial: sign * trial.scores[objective])
    return BestTrial(best.number, best.scores)


def _estimate_remaining_s(
    stage_events: Sequence[Mapping[str, Any]],
    end_event_names: Collection[str],
    num_remaining: int,
    now: float,
) -> float | None:
    """Estimate the seconds until a stage ends, at its pace so far; None before the first end.

    Pruned trials count like finished ones, so the share of pruned trials is assumed to stay equal.

    Args:
        stage_events: Events since the stage was last started or resumed, oldest first.
        end_event_names: Names of the events that end a trial or a run.
        num_remaining: Number of trials or runs that have not ended.
        now: Current time in seconds since the epoch.
    """
    end_events = [e for e in stage_events if e["event"] in end_event_names]
    if not end_events:
        return None
    last_end = end_events[-1]["time"]
    seconds_per_end = (last_end - stage_events[0]["time"]) / len(end_events)
    # Time since the last end has already been spent on the remaining ones.
    return max(0.0, seconds_per_end * num_remaining - (now - last_end))
