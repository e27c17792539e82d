"""System metrics during training, sampled with MLflow's monitors in a thread of their own.

The values describe the whole machine, so several runs on one machine show the same values. MLflow's
own monitoring thread is not used, because it talks to the server directly and loses its values
while the server is unavailable.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

_DEFAULT_INTERVAL_S = 10.0
_NUM_SAMPLES = 2
_PREFIX = "system/"

MetricsCallback = Callable[[Mapping[str, float]], None]


class SystemMonitor:
    """A monitor that samples CPU, memory, disk, network and NVIDIA GPUs in a thread.

    The thread starts at once and runs until `stop` is called.

    Args:
        on_metrics: Callback for metric → mean of two samples; called in the thread.
        interval_s: Interval between two calls of `on_metrics` in seconds.
    """

    def __init__(
        self, on_metrics: MetricsCallback, interval_s: float = _DEFAULT_INTERVAL_S
    ) -> None:
        self._on_metrics = on_metrics
        self._sampling_interval_s = interval_s / _NUM_SAMPLES
        self._stop_event = threading.Event()
        self._thread = threading.Thread(
            target=self._sample_until_stopped, daemon=True, name="system monitor"
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for its end; samples that were not reported are dropped."""
        self._stop_event.set()
        self._thread.join()

    def _sample_until_stopped(self) -> None:
        """Sample the metrics and report their means until `stop` is called."""
        if self._stop_event.wait(self._sampling_interval_s):
            return  # runs that end this soon never import the monitors
        monitors = _create_monitors()
        while True:
            for _ in range(_NUM_SAMPLES):
                for monitor in monitors:
                    monitor.collect_metrics()
                if self._stop_event.wait(self._sampling_interval_s):
                    return
            means: dict[str, float] = {}
            for monitor in monitors:
                monitor_means = monitor.aggregate_metrics()
                means |= {f"{_PREFIX}{name}": value for name, value in monitor_means.items()}
                monitor.clear_metrics()
            self._on_metrics(means)


def _create_monitors() -> list[Any]:
    """Create MLflow's monitors, including the GPU monitor if there is a GPU."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except Exception:  # no NVIDIA library or no GPU; the exceptions have no common base class
        return monitors
    return monitors
