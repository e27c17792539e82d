"""What the machine does while a run trains, with MLflow's own monitors, through the run's spool.

Machine-wide numbers: several runs on one machine show the same. MLflow's own thread would talk to
the server by itself and lose what it has while the server is away.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

_EVERY_S = 10.0
_SAMPLES = 2
_PREFIX = "system/"

Note = Callable[[Mapping[str, float]], None]


class SystemMonitor:
    """Samples CPU, memory, disk, network and NVIDIA GPUs in a thread of its own.

    Args:
        note: told the mean of two samples, every ten seconds.
        every_s: from one note to the next.
    """

    def __init__(self, note: Note, every_s: float = _EVERY_S) -> None:
        self._note = note
        self._pause_s = every_s / _SAMPLES
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="system monitor")
        self._thread.start()

    def end(self) -> None:
        """Samples no more; what was not noted yet is dropped."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        if self._ended.wait(self._pause_s):
            return  # short runs import nothing for it
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
    """MLflow's, and that of GPUs where there are some."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        found.append(GPUMonitor())
    except Exception:  # no NVIDIA library, or no GPU: its own errors, of several families
        return found
    return found
