"""The time that the drivers of a sweep have worked, from the events of its journal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class WorkedTime:
    """The time that drivers have worked, added up event by event.

    Attributes:
        earlier_s: Seconds of all sessions but the last.
        start: Start of the last session in seconds since the epoch; None before the first.
        end: Time of the latest event.
    """

    earlier_s: float = 0.0
    start: float | None = None
    end: float = 0.0

    def add_event(self, event: Mapping[str, Any]) -> None:
        """Add the next event of a journal."""
        if event["event"] == "session_started":
            # `end` is still the last event of the previous session here; a killed driver records
            # no end of its own.
            self.earlier_s += self.end - self.start if self.start is not None else 0.0
            self.start = event["time"]
        self.end = event["time"]

    def compute_hours(self, now: float | None = None) -> float:
        """Compute the hours without the pauses between sessions; see `compute_worked_hours`."""
        if self.start is None:
            return self.earlier_s / 3600
        return (self.earlier_s + ((self.end if now is None else now) - self.start)) / 3600


def compute_worked_hours(events: Iterable[Mapping[str, Any]], now: float | None = None) -> float:
    """Compute the hours that drivers have worked, without the pauses between sessions.

    Args:
        events: All events of a journal, oldest first.
        now: End of the last session in seconds since the epoch; default: its last event.
    """
    worked_time = WorkedTime()
    for event in events:
        worked_time.add_event(event)
    return worked_time.compute_hours(now)
