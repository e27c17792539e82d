"""The log of one run in MLflow: records are stored on disk at once and sent in the background.

Everything a run records goes into its offline queue (`spool`), from which a thread sends it in
batches, about once per second and for at most 2 % of the time (MLflow takes 480 ms for 20 metrics
in single calls and 35 ms in one batch). While the server is unavailable the queue grows. The thread
tries again, then the next process of the run does, and for runs that are over
`factory.MlflowLogs.replay` does. Each point arrives exactly once: its timestamp is fixed when it is
recorded, and steps that were recorded before a run was killed are not recorded again when they are
trained again. The steps of each metric must therefore increase.
"""

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.core.run_logger import RunStatus
from kinesweep.tracking.mlflow_client import MAX_METRICS, MAX_NAMES, plain_key, value_text
from kinesweep.tracking.system import SystemMonitor
from kinesweep.tracking.uploader import Sender

_log = logging.getLogger(__name__)
# Pause between batches, largest share of time spent sending, longest pause.
_FLUSH_S, _SHARE, _LONGEST_S = 1.0, 0.02, 30.0


@dataclass(frozen=True)
class RunName:
    """The identity of a run in MLflow.

    Attributes:
        key: Unique key that stays the same after a resume, for example the path of the run's
            folder.
        title: Name shown in the UI.
        tags: Further tags, such as `config_hash`, `seed`, `phase`.
        parent: Key of the run to which this one belongs (its sweep's), or None.
    """

    key: str
    title: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None


class MlflowRunLog:
    """A `core.runlog.RunLog` in MLflow, opened by `factory.MlflowLogs.open`.

    Args:
        sender: Sender for the run's offline queue.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._spool = sender.spool
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._monitor: SystemMonitor | None = None
        # An earlier process of this run may have left records that it could not send.
        if self._spool.pending():
            self._start()

    def params(self, values: Mapping[str, object]) -> None:
        """Record flat parameters; a key keeps its first value."""
        plain = {plain_key(key): value_text(value) for key, value in values.items()}
        # MLflow refuses to change the value of a parameter.
        new = {key: value for key, value in plain.items() if key not in self._spool.params}
        for part in _parts(new, MAX_NAMES):
            self._append("params", part)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record the measurements of a step, except metrics already recorded at this step or later.

        Args:
            values: Metric → value.
            step: Step of the measurements.
        """
        plain = {plain_key(key): float(value) for key, value in values.items()}
        marks = self._spool.marks
        # A metric without a mark is new: the default `step - 1` is always below `step`.
        new = {key: value for key, value in plain.items() if step > marks.get(key, step - 1)}
        for part in _parts(new, MAX_METRICS):
            self._append("metrics", part, step)
        # Started with the first metric, so runs that never train start no monitor.
        if self._monitor is None:
            self._monitor = SystemMonitor(self._system)

    def artifact(self, path: Path) -> None:
        """Upload a file or folder.

        Args:
            path: File or folder; it must not be moved until the server has it.
        """
        self._append("artifact", {"path": str(Path(path).absolute())})

    def dataset(self, name: str, digest: str) -> None:
        """Record the dataset of the run.

        Args:
            name: Name of the dataset.
            digest: Fingerprint of the store.
        """
        self._append("dataset", {"name": name, "digest": digest})

    def tags(self, values: Mapping[str, str]) -> None:
        """Record tags, whose values may change; not part of `RunLogger`."""
        known = self._spool.tags
        new = {key: value for key, value in values.items() if known.get(key) != value}
        for part in _parts(new, MAX_NAMES):
            self._append("tags", part)

    def num_pending(self) -> int:
        """Return the number of records that have not reached the server."""
        return len(self._spool.pending())

    def finish(self, status: RunStatus) -> None:
        """Close the log; wait until the server has all records, unless it is unavailable.

        Args:
            status: Final status of the run.
        """
        if self._monitor is not None:
            # The monitor appends records from its own thread, so it stops before the final status.
            self._monitor.end()
        if self._spool.status != status:
            self._append("finish", {"status": status})
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        waiting = len(self._spool.pending())
        if waiting:
            _log.warning(
                "MLflow at %s is unavailable; %d records are queued in %s and will be sent by the"
                " next command",
                *(self._sender.uri, waiting, self._spool.path),
            )
        self._spool.close()

    def _system(self, values: Mapping[str, float]) -> None:
        """Record system metrics; their steps continue after a resume."""
        step = max((self._spool.marks.get(key, -1) for key in values), default=-1) + 1
        self._append("metrics", dict(values), step)

    def _append(self, kind: Any, value: Mapping[str, Any], step: int = 0) -> None:
        """Queue a record and make sure that the thread runs."""
        self._spool.append(kind, value, step)
        self._start()

    def _start(self) -> None:
        """Start the thread if it is not running."""
        if self._thread is None:
            # A daemon, so that an unavailable server cannot keep the process from exiting.
            self._thread = threading.Thread(
                target=self._send_on, name="kinesweep-tracking", daemon=True
            )
            self._thread.start()

    def _send_on(self) -> None:
        """Send until the run has ended and the queue is empty or the server unavailable."""
        pause_s = 0.0
        while True:
            self._closing.wait(pause_s)
            # Read before sending: records appended before `_closing` was set are then part of this
            # pass.
            closing = self._closing.is_set()
            began = time.monotonic()
            away = not self._sender.send()
            if closing and (away or not self._spool.pending()):
                return
            took_s = time.monotonic() - began
            # Double the pause while the server is unavailable; otherwise make the pause long enough
            # for sending to take at most `_SHARE` of the time.
            if away:
                pause_s = min(_LONGEST_S, max(_FLUSH_S, 2 * pause_s))
            else:
                pause_s = min(_LONGEST_S, max(_FLUSH_S, took_s / _SHARE))


def _parts(values: Mapping[str, Any], most: int) -> Iterator[dict[str, Any]]:
    """Yield the entries in parts of at most `most`, which one call can carry."""
    items = iter(values.items())
    while part := dict(itertools.islice(items, most)):
        yield part
