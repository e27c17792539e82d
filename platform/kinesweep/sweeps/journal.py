"""A sweep's truth: an append-only file of events, one JSON line each.

Whatever dies, what stands here has happened: a finished run is never trained again, and a sweep
goes on from the lines that are there. A last line that a kill cut short is ignored and cut off.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinesweep.core.errors import CheckpointError

JOURNAL = "journal.jsonl"
TrialState = Literal["running", "finished", "pruned", "failed"]


@dataclass
class Trial:
    """One configuration of the search.

    Attributes:
        number: in the order of proposal.
        values: the swept parameters.
        config: its configuration hash.
        state: `running` also when its driver died.
        score: of the sweep's metric, when finished.
        losses: samples beyond the warm-up → token loss, as reported.
        reason: why it failed.
    """

    number: int
    values: dict[str, Any]
    config: str
    state: TrialState = "running"
    score: float | None = None
    losses: dict[float, float] = field(default_factory=dict)
    reason: str = ""


class Journal:
    """Appends events and reads them back. One driver at a time (a lock is the caller's)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / JOURNAL
        self.events = _whole_lines(self.path)
        self._file = self.path.open("a", encoding="utf-8")

    def __getstate__(self) -> dict[str, Any]:
        # Tune copies its searcher, and with it whom the searcher tells; a copy cannot write.
        return {"path": self.path, "events": self.events}

    def add(self, event: str, **facts: Any) -> None:
        """Appends one event and brings it to the disk."""
        line = {"event": event, **facts}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.events.append(line)

    def close(self) -> None:
        """Nothing may be added after this."""
        self._file.close()

    def begin(self, identity: str, question: str) -> bool:
        """Notes what sweep this is. Returns whether it had begun before.

        Raises:
            CheckpointError: another sweep's journal.
        """
        started = next((e for e in self.events if e["event"] == "sweep_started"), None)
        if started is None:
            self.add("sweep_started", identity=identity, question=question)
            return False
        if started["identity"] != identity:
            raise CheckpointError(
                f"`{self.path.parent}` holds another sweep (the space, the recipe or the data have"
                " changed since); give another `--name`, or `--overwrite` to begin again"
            )
        return True

    def trials(self) -> list[Trial]:
        """The search as far as it went."""
        return read_trials(self.events)

    def runs(self) -> dict[str, dict[str, Any]]:
        """Finished runs of the finals: folder name → what was noted."""
        return {e["run"]: e for e in self.events if e["event"] == "run_finished"}


def read_trials(events: list[dict[str, Any]]) -> list[Trial]:
    """Trials out of events; later events of a trial win."""
    trials: dict[int, Trial] = {}
    for event in events:
        number = event.get("trial")
        if event["event"] == "trial_created":
            trials[event["trial"]] = Trial(event["trial"], event["values"], event["config"])
        elif event["event"] == "trial_reported":
            trials[event["trial"]].losses[event["beyond"]] = event["token_loss"]
        elif event["event"] == "trial_ended":
            trial = trials[event["trial"]]
            trial.state, trial.score = event["state"], event["score"]
            trial.reason = event.get("reason", "")
        elif number is not None:
            raise CheckpointError(f"the journal holds an unknown event `{event['event']}`")
    return list(trials.values())


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Events of a sweep, without touching its file.

    Raises:
        CheckpointError: no sweep there.
    """
    if not (folder / JOURNAL).is_file():
        raise CheckpointError(f"`{folder}` holds no sweep: {JOURNAL} is missing")
    lines = (folder / JOURNAL).read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


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
