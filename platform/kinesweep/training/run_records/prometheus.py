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

_LOG = logging.getLogger(__name__)
METRIC_PREFIX = "kinesweep_"
# Well below the 20 s after which Ray drops a gauge.
_UPDATE_INTERVAL_S = 5.0
_RUN_LABELS = ("sweep", "run")
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "samples_per_s": ("Training clips per second, summed over all workers of a run", _RUN_LABELS),
    "step_s": ("Duration of an optimizer step in seconds", _RUN_LABELS),
    "padding_share": ("Share of padding among the frames of rank 0's batches", _RUN_LABELS),
    "evaluation_s": ("Duration of the latest evaluation in seconds", _RUN_LABELS),
    "loss": ("Training loss", _RUN_LABELS),
    "token_loss": ("Validation loss per token, without label smoothing", _RUN_LABELS),
    "tracking_backlog": ("Records of a run that have not reached its trackers yet", _RUN_LABELS),
    "trials": ("Number of trials of a sweep by state", ("sweep", "state")),
    "trials_wanted": ("Number of trials requested for a sweep", ("sweep",)),
    "final_runs": ("Number of finished final runs of a sweep", ("sweep",)),
    "best_score": ("Best score of a sweep's trials on its first objective", ("sweep",)),
    "sweep_hours": ("Working time of a sweep's drivers in hours", ("sweep",)),
}
"""Name (after `ray_kinesweep_`) → description and label names."""


@dataclass(frozen=True)
class GaugeValue:
    """The current value of one gauge.

    Attributes:
        name: Name of the gauge, one of `GAUGES`.
        value: Current value.
        labels: Values of all labels of the gauge.
    """

    name: str
    value: float
    labels: Mapping[str, str]


GetGaugeValues = Callable[[], Iterable[GaugeValue]]
"""Function that returns the current values of the gauges."""


class GaugeUpdater:
    """A background thread that updates the gauges periodically until `stop` is called.

    The thread starts with the object. An error in `get_values` ends the updates with a warning.

    Args:
        get_values: Function that returns the current values of the gauges; called in the thread.
    """

    def __init__(self, get_values: GetGaugeValues) -> None:
        self._get_values = get_values
        self._stop_event = threading.Event()
        self._thread = threading.Thread(
            target=self._update_until_stopped, daemon=True, name="gauges"
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop updating the gauges and wait for the thread."""
        self._stop_event.set()
        self._thread.join()

    def _update_until_stopped(self) -> None:
        """Update the gauges every 5 s until `stop` is called or an update fails."""
        # `wait` returns as soon as the event is set, so `stop` does not take a whole interval.
        while not self._stop_event.wait(_UPDATE_INTERVAL_S):
            try:
                self._update_gauges()
            except Exception as error:
                # Monitoring must never end a run, so any error only stops the updates.
                _LOG.warning("stopped exporting Prometheus gauges: %r", error)
                return

    def _update_gauges(self) -> None:
        """Set all gauges to their current values once; do nothing if Ray is not running."""
        if ray.is_initialized():
            for gauge_value in self._get_values():
                _get_gauge(gauge_value.name).set(gauge_value.value, dict(gauge_value.labels))


@contextmanager
def export_gauges(get_values: GetGaugeValues) -> Iterator[None]:
    """Export gauges to Prometheus, updated periodically, for the duration of the `with` block.

    Args:
        get_values: Function that returns the current values of the gauges.
    """
    updater = GaugeUpdater(get_values)
    try:
        yield
    finally:
        updater.stop()


@cache
def _get_gauge(name: str) -> Gauge:
    """Return the Ray gauge of a name; the first call in a process creates it.

    Args:
        name: Name of the gauge, one of `GAUGES`.
    """
    description, labels = GAUGES[name]
    return Gauge(METRIC_PREFIX + name, description, labels)


class PrometheusRunLogger:
    """A run logger that also exports the latest metrics as Prometheus gauges until `finish`.

    All calls are passed on to another run logger. A thread updates the gauges.

    Args:
        log: Run logger that receives the calls.
        folder: Run folder; its name is the label `run`.
        sweep: Name of the sweep that the run belongs to; empty without one.
    """

    def __init__(self, log: RunLogger, folder: Path, sweep: str) -> None:
        self._log = log
        self._labels = {"sweep": sweep, "run": folder.name}
        self._latest: dict[str, float] = {}
        self.log_params, self.log_artifact, self.log_dataset = (
            log.log_params,
            log.log_artifact,
            log.log_dataset,
        )
        self.count_pending_records = log.count_pending_records
        # Started last, because its thread reads the attributes above.
        self._updater = GaugeUpdater(self.get_gauge_values)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log the metrics of a step, and store those that have a gauge for the next update."""
        self._log.log_metrics(values, step)
        gauge_values = {name: float(value) for name, value in values.items() if name in GAUGES}
        # Replace the dict instead of changing it: the exporting thread then sees either the old or
        # the new one.
        self._latest = {**self._latest, **gauge_values}

    def finish(self, status: RunStatus) -> None:
        """Finish the run logger with the status of the run, then stop updating the gauges."""
        self._log.finish(status)
        # Stopped last: `tracking_backlog` is still exported while the inner logger finishes.
        self._updater.stop()

    def get_gauge_values(self) -> list[GaugeValue]:
        """Return the latest metrics that have a gauge, and the number of pending records."""
        values = {**self._latest, "tracking_backlog": float(self.count_pending_records())}
        return [GaugeValue(name, value, self._labels) for name, value in values.items()]
