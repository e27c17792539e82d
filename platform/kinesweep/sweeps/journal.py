"""A sweep's truth: an append-only file of events, one JSON line each.

Whatever dies, what stands here has happened: a finished run is never trained again, and a sweep
goes on from the lines that are there. A last line that a kill cut short is ignored and cut off.
Each line costs one fsync, about a millisecond.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinesweep.core.errors import CheckpointError
from kinesweep.sweeps.parameter import Values

JOURNAL, RESULT = "journal.jsonl", "result.json"
TrialState = Literal["running", "finished", "pruned", "failed"]


@dataclass
class Trial:
    """One configuration of the search.

    Attributes:
        number: in the order of proposal.
        values: the swept parameters.
        config: its configuration hash.
        state: `running` also when its driver died.
        scores: objective → value, when finished.
        losses: samples beyond the warm-up → what the scheduler compares, as reported.
        reason: why it failed, or was ended by the budget.
        started: when it was proposed, in seconds of the epoch.
        seconds: it took, all attempts together.
        deaths: how often its processes died since it got further.
        twin: number of the equal trial whose result it took over.
    """

    number: int
    values: Values
    config: str
    state: TrialState = "running"
    scores: dict[str, float] = field(default_factory=dict)
    losses: dict[float, float] = field(default_factory=dict)
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    deaths: int = 0
    twin: int | None = None


class Journal:
    """Appends events and reads them back. One driver at a time (a lock is the caller's)."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Opens a sweep's journal; with no folder, one in memory (for simulations)."""
        self.path = folder / JOURNAL if folder is not None else None
        self.clock = clock
        self.events: list[dict[str, Any]] = []
        self._trials: dict[int, Trial] = {}
        self._file = None
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for event in _whole_lines(self.path):
                self._note(event)
            self._file = self.path.open("a", encoding="utf-8")

    def __getstate__(self) -> dict[str, Any]:
        # Tune copies its searcher, and with it whom the searcher tells; a copy cannot write.
        return {"path": self.path, "events": []}

    def add(self, event: str, **facts: Any) -> None:
        """Appends one event and brings it to the disk."""
        line = {"event": event, "time": round(self.clock(), 3), **facts}
        if self._file is not None:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        self._note(line)

    def close(self) -> None:
        """Nothing may be added after this."""
        if self._file is not None:
            self._file.close()

    def begin(self, identity: str, question: str) -> bool:
        """Notes what sweep this is, and that a driver works at it.

        Returns:
            Whether it had begun before.

        Raises:
            CheckpointError: another sweep's journal.
        """
        started = next((e for e in self.events if e["event"] == "sweep_started"), None)
        if started is None:
            self.add("sweep_started", identity=identity, question=question)
        elif started["identity"] != identity:
            assert self.path is not None
            raise CheckpointError(
                f"`{self.path.parent}` holds another sweep (the space, the recipe or the data have"
                " changed since); give another `--name`, or `--overwrite` to begin again"
            )
        self.add("session_started")
        return started is not None

    @property
    def trials(self) -> list[Trial]:
        """The search as far as it went; each trial is updated as events come."""
        return list(self._trials.values())

    def trial(self, number: int) -> Trial:
        """One trial."""
        return self._trials[number]

    def last(self, event: str) -> dict[str, Any] | None:
        """The newest event of a name."""
        return next((e for e in reversed(self.events) if e["event"] == event), None)

    def hours(self) -> float:
        """Hours that drivers have worked at this sweep; pauses between them do not count."""
        return worked_hours(self.events, self.clock())

    def run_seconds(self) -> float:
        """Seconds of all runs that have ended, search and finals."""
        finals = [e for e in self.events if e["event"] in ("run_finished", "run_failed")]
        return sum(t.seconds for t in self.trials) + sum(e.get("seconds", 0.0) for e in finals)

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if "trial" in event:
            note_trial(self._trials, event)


def note_trial(trials: dict[int, Trial], event: Mapping[str, Any]) -> None:
    """Brings trials up to date with one event.

    Raises:
        CheckpointError: an event that this version does not know.
    """
    number, kind = event["trial"], event["event"]
    if kind == "trial_created":
        known = Trial(number, event["values"], event["config"], started=event["time"])
        known.twin = event.get("twin")
        trials[number] = known
    elif kind == "trial_reported":
        losses = trials[number].losses
        if event["beyond"] > max(losses, default=-math.inf):
            trials[number].deaths = 0
        losses[event["beyond"]] = event["loss"]
    elif kind == "trial_died":
        trials[number].deaths += 1
        trials[number].seconds += event["seconds"]
    elif kind == "trial_ended":
        trial = trials[number]
        trial.state, trial.scores = event["state"], event["scores"]
        trial.reason = event["reason"]
        trial.seconds += event["seconds"]
    else:
        raise CheckpointError(f"the journal holds an unknown event `{kind}`")


def worked_hours(events: Iterable[Mapping[str, Any]], now: float | None = None) -> float:
    """Hours between each driver's start and its last event, or `now` for the last driver."""
    seconds, start, end = 0.0, None, 0.0
    for event in events:
        if event["event"] == "session_started":
            seconds += end - start if start is not None else 0.0
            start = event["time"]
        end = event["time"]
    if start is not None:
        seconds += (end if now is None else now) - start
    return seconds / 3600


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Events of a sweep, without touching its file.

    Raises:
        CheckpointError: no sweep there.
    """
    if not (folder / JOURNAL).is_file():
        raise CheckpointError(f"`{folder}` holds no sweep: {JOURNAL} is missing")
    lines = (folder / JOURNAL).read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def read_trials(events: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Trials out of events."""
    trials: dict[int, Trial] = {}
    for event in events:
        if "trial" in event:
            note_trial(trials, event)
    return list(trials.values())


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Events so far; a torn last line is removed from the file."""
    if not path.exists():
        return []
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        with path.open("rb+") as file:
            file.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]
