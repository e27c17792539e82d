"""The journal of a sweep: an append-only file of events, one JSON line each.

The journal is the only persistent state of a sweep. A recorded event has happened, whichever
process dies afterwards: a finished run is never trained again, and a sweep resumes from the lines
that exist. An incomplete last line, left by a killed driver, is ignored and truncated. Each line
costs one fsync, about a millisecond.
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
from kinesweep.sweeps.space.parameter import Values

JOURNAL, RESULT = "journal.jsonl", "result.json"
TrialState = Literal["running", "finished", "pruned", "failed"]


@dataclass
class Trial:
    """A configuration of the search with its state.

    Attributes:
        number: Position in the order of request, from 0.
        values: Swept parameters.
        config: Configuration hash.
        state: Current state; still `running` if the driver died meanwhile.
        scores: Objective → value; empty unless the trial finished.
        losses: Samples beyond the warm-up → value that the pruner compares (lower is better).
        reason: Explanation why the trial failed or was stopped by the budget.
        started: Time of the request in seconds since the epoch.
        seconds: Duration of all attempts together.
        deaths: Number of times its processes have died since its last progress.
        duplicate_of: Number of the earlier trial with the same configuration, whose result it
            copies.
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
    duplicate_of: int | None = None


class Journal:
    """A sweep's journal. Only one driver may write at a time; the caller holds the lock.

    Args:
        folder: Folder of the sweep; None keeps the journal in memory, for simulations.
        clock: Function that returns the time in seconds since the epoch.
    """

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Open the journal and replay its events."""
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
        # Ray Tune copies its searcher together with the policy and this journal. The copy must
        # neither hold the open file nor write to it.
        return {"path": self.path, "events": []}

    def add(self, event: str, **facts: Any) -> None:
        """Append one event and force it to disk."""
        line = {"event": event, "time": round(self.clock(), 3), **facts}
        if self._file is not None:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        # The event takes effect in memory only once it is durable. Otherwise a crash could forget
        # a decision that has already been acted on.
        self._note(line)

    def close(self) -> None:
        """Close the file; no event may be added afterwards."""
        if self._file is not None:
            self._file.close()

    def begin(self, identity: str, question: str) -> bool:
        """Record the identity of the sweep on first use and the start of a driver session.

        Args:
            identity: Hash of everything that must be equal to resume the sweep.
            question: Question that the sweep answers.

        Returns:
            Whether the sweep had been started before.

        Raises:
            CheckpointError: If the journal belongs to a sweep with another identity.
        """
        started = next((e for e in self.events if e["event"] == "sweep_started"), None)
        if started is None:
            self.add("sweep_started", identity=identity, question=question)
        elif started["identity"] != identity:
            assert self.path is not None
            raise CheckpointError(
                f"`{self.path.parent}` holds another sweep: the space, the recipe or the data have"
                " changed since it was started; choose another `--name`, or start over with"
                " `--overwrite`"
            )
        self.add("session_started")
        return started is not None

    @property
    def trials(self) -> list[Trial]:
        """All trials in the order of request; each object is updated as events are added."""
        return list(self._trials.values())

    def trial(self, number: int) -> Trial:
        """Return the trial with a number."""
        return self._trials[number]

    def last(self, event: str) -> dict[str, Any] | None:
        """Return the latest event with a name, or None."""
        return next((e for e in reversed(self.events) if e["event"] == event), None)

    def hours(self) -> float:
        """Return the hours that drivers have worked on this sweep, without pauses between them."""
        return worked_hours(self.events, self.clock())

    def run_seconds(self) -> float:
        """Return the total duration in seconds of all trials and of all ended final runs."""
        finals = [e for e in self.events if e["event"] in ("run_finished", "run_failed")]
        return sum(t.seconds for t in self.trials) + sum(e.get("seconds", 0.0) for e in finals)

    def _note(self, event: dict[str, Any]) -> None:
        """Add an event to the list and apply it to the trials."""
        self.events.append(event)
        if "trial" in event:
            note_trial(self._trials, event)


def note_trial(trials: dict[int, Trial], event: Mapping[str, Any]) -> None:
    """Apply one event to the trials.

    Args:
        trials: Number → trial; changed in place.
        event: Event that names a trial.

    Raises:
        CheckpointError: If this version does not know the event.
    """
    number, kind = event["trial"], event["event"]
    if kind == "trial_created":
        known = Trial(number, event["values"], event["config"], started=event["time"])
        known.duplicate_of = event.get("duplicate_of")
        trials[number] = known
    elif kind == "trial_reported":
        losses = trials[number].losses
        # A retried trial resumes from its last checkpoint and repeats some evaluations; only an
        # evaluation further than all before counts as progress.
        if event["beyond"] > max(losses, default=-math.inf):
            trials[number].deaths = 0
        losses[event["beyond"]] = event["loss"]
    elif kind == "trial_died":
        trials[number].deaths += 1
        trials[number].seconds += event["seconds"]
    elif kind == "trial_ended":
        # Twins end with 0 seconds, so copied results add nothing to the sweep's cost.
        trial = trials[number]
        trial.state, trial.scores = event["state"], event["scores"]
        trial.reason = event["reason"]
        trial.seconds += event["seconds"]
    else:
        raise CheckpointError(
            f"the journal holds an event `{kind}` that this version of Kinesweep does not know"
        )


def worked_hours(events: Iterable[Mapping[str, Any]], now: float | None = None) -> float:
    """Return the hours that drivers have worked, without the pauses between sessions.

    Args:
        events: Events of a journal in order.
        now: End of the last session in seconds since the epoch; default: its last event.
    """
    seconds, start, end = 0.0, None, 0.0
    for event in events:
        if event["event"] == "session_started":
            # `end` is still the last event of the previous session here; a killed driver records
            # no end of its own.
            seconds += end - start if start is not None else 0.0
            start = event["time"]
        end = event["time"]
    if start is not None:
        seconds += (end if now is None else now) - start
    return seconds / 3600


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Read the events of a sweep without changing the file, also while a driver writes to it.

    Raises:
        CheckpointError: If the folder holds no sweep.
    """
    if not (folder / JOURNAL).is_file():
        raise CheckpointError(f"`{folder}` holds no sweep: {JOURNAL} is missing")
    # The last part is empty or a line that is still being written.
    lines = (folder / JOURNAL).read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def read_trials(events: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Build the trials from the events of a journal."""
    trials: dict[int, Trial] = {}
    for event in events:
        if "trial" in event:
            note_trial(trials, event)
    return list(trials.values())


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete events and truncate an incomplete last line of the file."""
    if not path.exists():
        return []
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    # Without truncation the next event would be appended to the incomplete line.
    if whole != raw:
        with path.open("rb+") as file:
            file.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]
