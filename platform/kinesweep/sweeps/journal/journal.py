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
from kinesweep.sweeps.journal.worked_time import WorkedTime
from kinesweep.sweeps.space.parameter import Values

JOURNAL, RESULT = "journal.jsonl", "result.json"
"""Names of the files with the journal and with the outcome of a finished sweep."""
TrialState = Literal["running", "finished", "pruned", "failed"]
# Each attempt at a trial or a final run ends with one of these events and its own duration.
_END_EVENTS = frozenset({"trial_died", "trial_ended", "run_finished", "run_failed", "run_died"})


@dataclass
class Trial:
    """A trial of the search: one configuration with its state.

    Attributes:
        number: Position in the order of request, from 0.
        values: Swept parameters (dotted recipe key → value), without fixed ones.
        config_hash: Configuration hash.
        state: Current state; still `running` if the driver died meanwhile.
        scores: Objective → value; empty unless the trial finished.
        losses: Samples beyond the warm-up → value that the pruner compares (lower is better).
        reason: Explanation why the trial failed, was stopped by the budget, or is a duplicate.
        start_time: Time of the request in seconds since the epoch.
        seconds: Duration of all ended attempts together.
        num_deaths: Number of times its processes have died since its last progress.
        duplicate_of: Number of the earlier trial with the same configuration, whose result it
            copies; None if there is none.
    """

    number: int
    values: Values
    config_hash: str
    state: TrialState = "running"
    scores: dict[str, float] = field(default_factory=dict)
    losses: dict[float, float] = field(default_factory=dict)
    reason: str = ""
    start_time: float = 0.0
    seconds: float = 0.0
    num_deaths: int = 0
    duplicate_of: int | None = None


class Journal:
    """The journal of a sweep. Only one driver may write at a time; the caller holds the lock.

    Opening a journal creates the folder and the file, and truncates an incomplete last line.

    Args:
        folder: Folder of the sweep; None keeps the journal in memory, for simulations.
        clock: Function that returns the time in seconds since the epoch.

    Attributes:
        path: File of the journal; None if it is kept in memory.
        clock: See the argument.
        events: All events, oldest first.
        longest_trial_s: Seconds of the longest finished trial, of all its attempts together; None
            before the first.

    Raises:
        CheckpointError: If this version does not know an event of the file that names a trial.
    """

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Open the journal and replay its events."""
        self.path = folder / JOURNAL if folder is not None else None
        self.clock = clock
        self.events: list[dict[str, Any]] = []
        self._trials: dict[int, Trial] = {}
        # Sums over the events so far: a driver asks for them at each report, and a sweep of a
        # thousand runs has a hundred thousand events.
        self._worked_time = WorkedTime()
        self._run_s = 0.0
        self.longest_trial_s: float | None = None
        self._file = None
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for event in _repair_and_read_events(self.path):
                self._apply_event(event)
            self._file = self.path.open("a", encoding="utf-8")

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune copies its searcher together with the policy and this journal. The copy must
        # neither hold the open file nor write to it.
        return {"path": self.path, "events": []}

    def append_event(self, event: str, **fields: Any) -> None:
        """Append one event with the current time, force it to disk, and apply it to the trials.

        A journal in memory writes nothing.

        Args:
            event: Name of the event.
            **fields: Further fields of the event as JSON values.

        Raises:
            ValueError: If a number is not finite.
            CheckpointError: If the event has a field `trial` but is not an event of trials.
        """
        record = {"event": event, "time": round(self.clock(), 3), **fields}
        if self._file is not None:
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        # The event takes effect in memory only once it is durable. Otherwise a crash could forget
        # a decision that has already been acted on.
        self._apply_event(record)

    def close(self) -> None:
        """Close the journal's file, if it has one; no event may be appended afterwards."""
        if self._file is not None:
            self._file.close()

    def start_session(self, identity: str, question: str) -> bool:
        """Record the start of a driver session, after the identity of the sweep on first use.

        Args:
            identity: Hash of everything that must be equal to resume the sweep.
            question: Question that the sweep answers.

        Returns:
            Whether the sweep had been started before.

        Raises:
            CheckpointError: If the journal belongs to a sweep with another identity.
        """
        start_event = next((e for e in self.events if e["event"] == "sweep_started"), None)
        if start_event is None:
            self.append_event("sweep_started", identity=identity, question=question)
        elif start_event["identity"] != identity:
            assert self.path is not None
            raise CheckpointError(
                f"`{self.path.parent}` holds another sweep: the space, the recipe or the data have"
                " changed since it was started; choose another `--name`, or start over with"
                " `--overwrite`"
            )
        self.append_event("session_started")
        return start_event is not None

    @property
    def trials(self) -> list[Trial]:
        """All trials in the order of request; each object is updated as events are added."""
        return list(self._trials.values())

    def get_trial(self, number: int) -> Trial:
        """Return the trial with the given number.

        Raises:
            KeyError: If there is no such trial.
        """
        return self._trials[number]

    def find_last_event(self, event: str) -> dict[str, Any] | None:
        """Return the latest event with the given name, or None if there is none."""
        return next((e for e in reversed(self.events) if e["event"] == event), None)

    def get_worked_hours(self) -> float:
        """Return the hours that drivers have worked on this sweep until now, without pauses."""
        return self._worked_time.compute_hours(self.clock())

    def sum_run_seconds(self) -> float:
        """Return the total duration in seconds of all ended attempts at trials and final runs."""
        return self._run_s

    def _apply_event(self, event: dict[str, Any]) -> None:
        """Add an event to the events in memory and apply it to sums and trials."""
        self.events.append(event)
        self._worked_time.add_event(event)
        if event["event"] in _END_EVENTS:
            self._run_s += event.get("seconds", 0.0)
        if "trial" in event:
            apply_trial_event(self._trials, event)
            trial = self._trials[event["trial"]]
            if trial.state == "finished" and trial.duplicate_of is None:
                self.longest_trial_s = max(trial.seconds, self.longest_trial_s or 0.0)


def apply_trial_event(trials: dict[int, Trial], event: Mapping[str, Any]) -> None:
    """Apply an event that names a trial to this trial.

    Args:
        trials: Number → trial; changed in place.
        event: Event with a field `trial`.

    Raises:
        CheckpointError: If this version does not know the event.
    """
    number, event_name = event["trial"], event["event"]
    if event_name == "trial_created":
        new_trial = Trial(number, event["values"], event["config"], start_time=event["time"])
        new_trial.duplicate_of = event.get("duplicate_of")
        trials[number] = new_trial
    elif event_name == "trial_reported":
        losses = trials[number].losses
        # A retried trial resumes from its last checkpoint and repeats some evaluations; only an
        # evaluation beyond all earlier ones counts as progress.
        if event["beyond"] > max(losses, default=-math.inf):
            trials[number].num_deaths = 0
        losses[event["beyond"]] = event["loss"]
    elif event_name == "trial_died":
        trials[number].num_deaths += 1
        trials[number].seconds += event["seconds"]
    elif event_name == "trial_ended":
        # Duplicates end with 0 seconds, so copied results add nothing to the sweep's cost.
        trial = trials[number]
        trial.state, trial.scores = event["state"], event["scores"]
        trial.reason = event["reason"]
        trial.seconds += event["seconds"]
    else:
        raise CheckpointError(
            f"the journal holds an event `{event_name}` that this version of Kinesweep does not"
            " know"
        )


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Read the complete events of a sweep's journal, also while a driver is writing to it.

    Raises:
        CheckpointError: If the folder holds no sweep.
    """
    if not (folder / JOURNAL).is_file():
        raise CheckpointError(f"`{folder}` holds no sweep: {JOURNAL} is missing")
    # The last part is empty or a line that is still being written.
    lines = (folder / JOURNAL).read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def build_trials(events: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Build all trials from the events of a journal, in the order of request.

    Raises:
        CheckpointError: If this version does not know an event.
    """
    trials: dict[int, Trial] = {}
    for event in events:
        if "trial" in event:
            apply_trial_event(trials, event)
    return list(trials.values())


def _repair_and_read_events(path: Path) -> list[dict[str, Any]]:
    """Truncate an incomplete last line of a journal file, if it exists, and read its events."""
    if not path.exists():
        return []
    raw = path.read_bytes()
    complete_lines = raw[: raw.rfind(b"\n") + 1]
    # Without truncation the next event would be appended to the incomplete line.
    if complete_lines != raw:
        with path.open("rb+") as file:
            file.truncate(len(complete_lines))
    return [json.loads(line) for line in complete_lines.splitlines()]
