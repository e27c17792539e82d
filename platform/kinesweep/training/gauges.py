"""What runs and sweeps look like right now, for Prometheus, among Ray's own metrics.

Each process of a cluster hands its numbers to its node's agent, and Prometheus finds the agents by
the file that Ray keeps for it; so nothing listens but Ray, and names begin with `ray_`. Ray forgets
a gauge 20 s after it was set (2.60, measured), so a thread reads and sets all of them every 5 s; a
run that has ended is gone from the boards within 20 s. Without Ray nothing is shown. The boards in
`dashboards/grafana` draw them; what lasts is in MLflow.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ray
from ray.util.metrics import Gauge

from kinesweep.core.runlog import RunLog, RunStatus

_log = logging.getLogger(__name__)
PREFIX = "kinesweep_"
_EVERY_S = 5.0
_RUN = ("sweep", "run")
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "samples_per_s": ("Clips that a run trains on in a second, over all of its workers", _RUN),
    "step_s": ("Seconds of an optimiser step", _RUN),
    "padding_share": ("Share of padding among the frames of rank 0's batches", _RUN),
    "evaluation_s": ("Seconds of the latest evaluation", _RUN),
    "loss": ("Training loss", _RUN),
    "token_loss": ("Validation loss for each token, unsmoothed", _RUN),
    "tracking_backlog": ("Records of a run that MLflow does not have yet", _RUN),
    "trials": ("Trials of a sweep by state", ("sweep", "state")),
    "trials_wanted": ("Trials that a sweep is asked for", ("sweep",)),
    "final_runs": ("Final runs of a sweep that are finished", ("sweep",)),
    "best_score": ("Best score of a sweep's trials in its first objective", ("sweep",)),
    "sweep_hours": ("Hours that a sweep's drivers have worked", ("sweep",)),
}
"""Name (after `ray_kinesweep_`) → description, and labels."""


@dataclass(frozen=True)
class Reading:
    """One number as it is now.

    Attributes:
        name: one of `GAUGES`.
        value: the number.
        labels: all of the gauge's.
    """

    name: str
    value: float
    labels: Mapping[str, str]


Read = Callable[[], Iterable[Reading]]


class Showing:
    """Shows readings again and again, from a thread, until its end.

    Args:
        read: the readings as they are; called by the thread.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show_on, daemon=True, name="gauges")
        self._thread.start()

    def end(self) -> None:
        """Shows no more."""
        self._ended.set()
        self._thread.join()

    def _show_on(self) -> None:
        while not self._ended.wait(_EVERY_S):
            try:
                self._show()
            except Exception as error:
                # A board that is empty must not cost a run.
                _log.warning("gauges are not shown any more: %r", error)
                return

    def _show(self) -> None:
        if ray.is_initialized():
            for reading in self._read():
                _gauge(reading.name).set(reading.value, dict(reading.labels))


@contextmanager
def showing(read: Read) -> Iterator[None]:
    """Shows readings for as long as the block takes."""
    shown = Showing(read)
    try:
        yield
    finally:
        shown.end()


@cache
def _gauge(name: str) -> Gauge:
    description, labels = GAUGES[name]
    return Gauge(PREFIX + name, description, labels)


class ShownLog:
    """A run's log whose latest measurements are shown while the run goes on.

    Args:
        log: gets everything.
        folder: the run's.
        sweep: whose run it is, or empty.
    """

    def __init__(self, log: RunLog, folder: Path, sweep: str) -> None:
        self._log = log
        self._labels = {"sweep": sweep, "run": folder.name}
        self._latest: dict[str, float] = {}
        self.params, self.artifact, self.dataset = log.params, log.artifact, log.dataset
        self.waiting = log.waiting
        self._showing = Showing(self.read)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Records measurements of a step."""
        self._log.metrics(values, step)
        # Another thread reads: it sees the mapping before or the mapping after.
        self._latest = {**self._latest, **{k: float(v) for k, v in values.items() if k in GAUGES}}

    def finish(self, status: RunStatus) -> None:
        """Ends the record."""
        self._log.finish(status)
        self._showing.end()

    def read(self) -> list[Reading]:
        """What is shown."""
        now = {**self._latest, "tracking_backlog": float(self.waiting())}
        return [Reading(name, value, self._labels) for name, value in now.items()]
