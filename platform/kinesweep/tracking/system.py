"""System metrics during training: sampled with MLflow's monitors and recorded in the run's spool.

The values describe the whole machine, so several runs on one machine show the same values. MLflow's
own monitoring thread is not used, because it talks to the server directly and loses its values
while the server is unavailable.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

_EVERY_S = 10.0
_SAMPLES = 2
_PREFIX = "system/"

Note = Callable[[Mapping[str, float]], None]


class SystemMonitor:
    """A thread that samples CPU, memory, disk, network and NVIDIA GPUs.

    Args:
        note: Callback that receives the mean of two samples.
        every_s: Interval between two calls of `note` in seconds.
    """

    def __init__(self, note: Note, every_s: float = _EVERY_S) -> None:
        self._note = note
        self._pause_s = every_s / _SAMPLES
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="system monitor")
        self._thread.start()

    def end(self) -> None:
        """Stop sampling; samples that were not reported are dropped."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        """Sample until `end` is called."""
        if self._ended.wait(self._pause_s):
            return  # runs that end this soon never import the monitors
        monitors = _monitors()
        while True:
            for _ in range(_SAMPLES):
                for monitor in monitors:
                    monitor.collect_metrics()
                if self._ended.wait(self._pause_s):
                    return
            values: dict[str, float] = {}
            for monitor in monitors:
                values |= {f"{_PREFIX}{k}": v for k, v in monitor.aggregate_metrics().items()}
                monitor.clear_metrics()
            self._note(values)


def _monitors() -> list[Any]:
    """Return MLflow's monitors, including the GPU monitor if there is a GPU."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        found.append(GPUMonitor())
    except Exception:  # no NVIDIA library or no GPU; the exceptions have no common base class
        return found
    return found
