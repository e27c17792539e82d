"""Prometheus gauges for the current state of runs and sweeps, exported through Ray's metrics.

Each process of a cluster sends its values to the agent of its node, and Prometheus finds the agents
through the service discovery file that Ray maintains. No process but Ray opens a port, and metric
names start with `ray_`. Ray drops a gauge 20 s after it was last set (measured with 2.60), so a
thread sets all gauges every 5 s, and a finished run disappears from the dashboards within 20 s.
Without Ray nothing is exported. The dashboards in `dashboards/grafana` plot the gauges; MLflow
keeps the permanent record.
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

from kinesweep.core.run_logger import RunLogger, RunStatus

_log = logging.getLogger(__name__)
PREFIX = "kinesweep_"
# Well below the 20 s after which Ray drops a gauge.
_EVERY_S = 5.0
_RUN = ("sweep", "run")
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "samples_per_s": ("Training clips per second, summed over all workers of a run", _RUN),
    "step_s": ("Duration of an optimizer step in seconds", _RUN),
    "padding_share": ("Share of padding among the frames of rank 0's batches", _RUN),
    "evaluation_s": ("Duration of the latest evaluation in seconds", _RUN),
    "loss": ("Training loss", _RUN),
    "token_loss": ("Validation loss per token, without label smoothing", _RUN),
    "tracking_backlog": ("Records of a run that have not reached MLflow yet", _RUN),
    "trials": ("Number of trials of a sweep by state", ("sweep", "state")),
    "trials_wanted": ("Number of trials requested for a sweep", ("sweep",)),
    "final_runs": ("Number of finished final runs of a sweep", ("sweep",)),
    "best_score": ("Best score of a sweep's trials on its first objective", ("sweep",)),
    "sweep_hours": ("Working time of a sweep's drivers in hours", ("sweep",)),
}
"""Name (after `ray_kinesweep_`) → description and label names."""


@dataclass(frozen=True)
class Reading:
    """The current value of one gauge.

    Attributes:
        name: Name of the gauge, one of `GAUGES`.
        value: Current value.
        labels: Values of all labels of the gauge.
    """

    name: str
    value: float
    labels: Mapping[str, str]


Read = Callable[[], Iterable[Reading]]


class MetricsDisplay:
    """A background thread that updates the gauges periodically until `end` is called.

    Args:
        read: Function that returns the current readings; called in the thread.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show_on, daemon=True, name="gauges")
        self._thread.start()

    def end(self) -> None:
        """Stop updating the gauges and wait for the thread."""
        self._ended.set()
        self._thread.join()

    def _show_on(self) -> None:
        """Update the gauges periodically until `end` is called."""
        while not self._ended.wait(_EVERY_S):
            try:
                self._show()
            except Exception as error:
                # Monitoring must never end a run, so any error only stops the updates.
                _log.warning("stopped exporting Prometheus gauges: %r", error)
                return

    def _show(self) -> None:
        """Set all gauges once; does nothing outside of Ray."""
        if ray.is_initialized():
            for reading in self._read():
                _gauge(reading.name).set(reading.value, dict(reading.labels))


@contextmanager
def showing(read: Read) -> Iterator[None]:
    """Update the gauges for the duration of the `with` block.

    Args:
        read: Function that returns the current readings.
    """
    shown = MetricsDisplay(read)
    try:
        yield
    finally:
        shown.end()


@cache
def _gauge(name: str) -> Gauge:
    """Return the Ray gauge of this name; each is registered once per process."""
    description, labels = GAUGES[name]
    return Gauge(PREFIX + name, description, labels)


class PrometheusRunLogger:
    """A run log that also exports the latest measurements as gauges while the run is active.

    Args:
        log: Run log that receives all calls.
        folder: Run folder; its name is the label `run`.
        sweep: Name of the sweep that the run belongs to; empty without one.
    """

    def __init__(self, log: RunLogger, folder: Path, sweep: str) -> None:
        self._log = log
        self._labels = {"sweep": sweep, "run": folder.name}
        self._latest: dict[str, float] = {}
        self.params, self.artifact, self.dataset = log.params, log.artifact, log.dataset
        self.num_pending = log.num_pending
        self._showing = MetricsDisplay(self.read)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record the measurements of a step."""
        self._log.metrics(values, step)
        # Replace the dict instead of changing it: the exporting thread then sees either the old or
        # the new one.
        self._latest = {**self._latest, **{k: float(v) for k, v in values.items() if k in GAUGES}}

    def finish(self, status: RunStatus) -> None:
        """Close the record and stop the updates."""
        self._log.finish(status)
        self._showing.end()

    def read(self) -> list[Reading]:
        """Return the current readings."""
        now = {**self._latest, "tracking_backlog": float(self.num_pending())}
        return [Reading(name, value, self._labels) for name, value in now.items()]
