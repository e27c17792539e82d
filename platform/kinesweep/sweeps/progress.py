"""What a display of a running sweep shows, from its journal alone: counts, best, time left."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kinesweep.core.scores import COSTS
from kinesweep.sweeps.journal import Trial, read_trials

Stage = Literal["search", "finals", "done"]
_RUN_ENDS = frozenset({"run_finished", "run_failed"})


@dataclass(frozen=True)
class Best:
    """The best trial so far, by the first objective.

    Attributes:
        trial: number of the trial.
        scores: objective → value.
    """

    trial: int
    scores: Mapping[str, float]

    @property
    def score(self) -> float:
        """The first objective's value."""
        return next(iter(self.scores.values()))


@dataclass(frozen=True)
class Progress:
    """How far a running sweep is.

    Attributes:
        stage: what is going on; `done` once it is ranked.
        began: when its driver started, in seconds of the epoch.
        trials: state → trials; `running`, `finished`, `pruned`, `failed`.
        trials_wanted: None: a whole grid.
        runs: state → runs of the finals; `running`, `finished`, `failed`.
        runs_wanted: None: the finals have not begun.
        best: None: no trial is finished.
        left_s: seconds until the stage is over, at the pace so far; None: unknown.
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
    """Return the progress that a journal tells; None before a driver has begun.

    Args:
        events: all of the journal.
        now: seconds of the epoch.

    Raises:
        CheckpointError: an event that this version does not know.
    """
    starts = [i for i, e in enumerate(events) if e["event"] == "session_started"]
    if not starts:
        return None
    # A sweep that went on or was extended has older sessions; their finals are not these.
    session = events[starts[-1] :]
    search = _since(session, "search_started")
    finals = _since(session, "finals_started")
    trials = [trial for trial in read_trials(events) if trial.twin is None]
    states: Counter[str] = Counter(trial.state for trial in trials)
    runs = _runs(finals)
    wanted = search[0]["trials"] if search else None
    left_s = None
    if finals:
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
    """Return the events from the first one of a name on; nothing before there is one."""
    first = next((i for i, e in enumerate(session) if e["event"] == name), len(session))
    return session[first:]


def _runs(finals: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Return state → runs of these finals; one that died waits, and is in none of the states."""
    if not finals:
        return Counter()
    states = {"run_started": "running", "run_finished": "finished", "run_failed": "failed"}
    last = {e["run"]: states.get(e["event"], "waiting") for e in finals if "run" in e}
    before = finals[0]["runs"] - finals[0]["missing"]
    return Counter(last.values()) + Counter(finished=before)


def find_best(trials: Sequence[Trial]) -> Best | None:
    """Return the best finished trial by its first objective; of equal ones the earlier.

    The journal does not say whether more is better; for the costs of a model it is not.
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
    """Return the seconds until a stage is over, at its pace since the driver started.

    Pruned trials count like others: of those to come as many are expected to be pruned.
    """
    ended = [e for e in stage if e["event"] in ends]
    if not ended:
        return None
    last = ended[-1]["time"]
    pace_s = (last - stage[0]["time"]) / len(ended)
    return max(0.0, pace_s * missing - (now - last))
