"""Progress of a running sweep, computed from its journal alone: counts, best trial, time left."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kinesweep.core.scores import COSTS
from kinesweep.sweeps.journal.journal import Trial, read_trials

Stage = Literal["search", "finals", "done"]
_RUN_ENDS = frozenset({"run_finished", "run_failed"})


@dataclass(frozen=True)
class Best:
    """The best trial so far by the first objective.

    Attributes:
        trial: Number of the trial.
        scores: Objective → value.
    """

    trial: int
    scores: Mapping[str, float]

    @property
    def score(self) -> float:
        """The value of the first objective."""
        return next(iter(self.scores.values()))


@dataclass(frozen=True)
class Progress:
    """The progress of a running sweep.

    Attributes:
        stage: Current stage; `done` once the finals are ranked.
        began: Start of the driver in seconds since the epoch.
        trials: State (`running`, `finished`, `pruned`, `failed`) → number of trials.
        trials_wanted: Number of planned trials; None for a full grid.
        runs: State (`running`, `finished`, `failed`) → number of final runs.
        runs_wanted: Number of final runs; None before the finals.
        best: Best trial; None if no trial is finished.
        left_s: Seconds until the stage ends, at the pace so far; None if unknown.
    """

    stage: Stage
    began: float
    trials: Mapping[str, int]
    trials_wanted: int | None
    runs: Mapping[str, int]
    runs_wanted: int | None
    best: Best | None
    left_s: float | None


def progress_of(events: Sequence[Mapping[str, Any]], now: float) -> Progress | None:
    """Return the progress according to a journal; None before a driver has started.

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
    search = _since(session, "search_started")
    finals = _since(session, "finals_started")
    trials = [trial for trial in read_trials(events) if trial.duplicate_of is None]
    states: Counter[str] = Counter(trial.state for trial in trials)
    runs = _runs(finals)
    wanted = search[0]["trials"] if search else None
    left_s = None
    if finals:
        # `missing` was counted at the start of the stage, so only later ends are subtracted.
        missing = finals[0]["missing"] - sum(e["event"] in _RUN_ENDS for e in finals)
        left_s = _left_s(finals, _RUN_ENDS, missing, now)
    elif search and wanted is not None:
        missing = wanted - (len(trials) - states["running"])
        left_s = _left_s(search, {"trial_ended"}, missing, now)
    ranked = any(e["event"] == "ranked" for e in session)
    return Progress(
        stage="done" if ranked else "finals" if finals else "search",
        began=session[0]["time"],
        trials=states,
        trials_wanted=wanted,
        runs=runs,
        runs_wanted=finals[0]["runs"] if finals else None,
        best=find_best(trials),
        left_s=left_s,
    )


def _since(session: Sequence[Mapping[str, Any]], name: str) -> Sequence[Mapping[str, Any]]:
    """Return the events from the first one with a name on; empty if there is none."""
    first = next((i for i, e in enumerate(session) if e["event"] == name), len(session))
    return session[first:]


def _runs(finals: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Return state → number of final runs; a run that died and waits has none of the states."""
    if not finals:
        return Counter()
    states = {"run_started": "running", "run_finished": "finished", "run_failed": "failed"}
    last = {e["run"]: states.get(e["event"], "waiting") for e in finals if "run" in e}
    # Runs that had finished in earlier sessions have no events in this stage.
    before = finals[0]["runs"] - finals[0]["missing"]
    return Counter(last.values()) + Counter(finished=before)


def find_best(trials: Sequence[Trial]) -> Best | None:
    """Return the best finished trial by its first objective; the earlier of two equal ones.

    The journal does not store the direction: model costs are minimized, all else is maximized.
    """
    finished = [trial for trial in trials if trial.scores]
    if not finished:
        return None
    first = next(iter(finished[0].scores))
    sign = -1 if first in COSTS else 1
    best = max(finished, key=lambda trial: sign * trial.scores[first])
    return Best(best.number, best.scores)


def _left_s(
    stage: Sequence[Mapping[str, Any]], ends: Collection[str], missing: int, now: float
) -> float | None:
    """Return the seconds until a stage ends, at its pace since the driver started.

    Pruned trials count like finished ones, so an equal share of pruned trials is expected.
    """
    ended = [e for e in stage if e["event"] in ends]
    if not ended:
        return None
    last = ended[-1]["time"]
    pace_s = (last - stage[0]["time"]) / len(ended)
    # Time since the last end has already been spent on the missing ones.
    return max(0.0, pace_s * missing - (now - last))
