"""A run's log in MLflow: written down at once, sent beside training, never waited for.

What a run records goes into its spool (`spool`), and a thread sends it in batches, about once a
second and never more than 2 % of the time (20 metrics one by one take MLflow 480 ms, in a batch
35 ms). While the server is away the spool grows; the thread tries again, the next process of the
run does, and `factory.MlflowLogs.replay` does for runs that are over. Each point arrives once: its
time is fixed when it is recorded, and a step that was recorded before a run was killed is not
recorded again when it is trained again. Hence the steps of one metric must rise.
"""

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.core.runlog import RunStatus
from kinesweep.tracking.sender import Sender
from kinesweep.tracking.system import SystemMonitor
from kinesweep.tracking.wire import MAX_METRICS, MAX_NAMES, plain_key, value_text

_log = logging.getLogger(__name__)
_FLUSH_S, _SHARE, _LONGEST_S = 1.0, 0.02, 30.0


@dataclass(frozen=True)
class RunName:
    """How a run is found again in MLflow.

    Attributes:
        key: unique and the same after a resume, for example the path of its folder.
        title: what people see.
        tags: further tags, such as `config_hash`, `seed`, `phase`.
        parent: key of the run that this one belongs to (a sweep's), or None.
    """

    key: str
    title: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None


class MlflowRunLog:
    """`core.runlog.RunLog` in MLflow. Made by `factory.MlflowLogs.open`.

    Args:
        sender: sends what lies in a spool.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._spool = sender.spool
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._monitor: SystemMonitor | None = None
        if self._spool.pending():
            self._start()

    def params(self, values: Mapping[str, object]) -> None:
        """Records flat parameters; a key keeps its first value."""
        plain = {plain_key(key): value_text(value) for key, value in values.items()}
        new = {key: value for key, value in plain.items() if key not in self._spool.params}
        for part in _parts(new, MAX_NAMES):
            self._append("params", part)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Records measurements of a step; what was recorded at it or later before is left out."""
        plain = {plain_key(key): float(value) for key, value in values.items()}
        marks = self._spool.marks
        new = {key: value for key, value in plain.items() if step > marks.get(key, step - 1)}
        for part in _parts(new, MAX_METRICS):
            self._append("metrics", part, step)
        if self._monitor is None:
            self._monitor = SystemMonitor(self._system)

    def artifact(self, path: Path) -> None:
        """Keeps a file (or folder); it must stay where it is until the server has it."""
        self._append("artifact", {"path": str(Path(path).absolute())})

    def dataset(self, name: str, digest: str) -> None:
        """Records which data the run saw."""
        self._append("dataset", {"name": name, "digest": digest})

    def tags(self, values: Mapping[str, str]) -> None:
        """Records what may change its value; not part of `RunLog`."""
        known = self._spool.tags
        new = {key: value for key, value in values.items() if known.get(key) != value}
        for part in _parts(new, MAX_NAMES):
            self._append("tags", part)

    def waiting(self) -> int:
        """How many records have not reached the server yet."""
        return len(self._spool.pending())

    def finish(self, status: RunStatus) -> None:
        """Ends the record; waits until the server has all of it, unless it is away."""
        if self._monitor is not None:
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
                "MLflow at %s is away; %d records wait in %s and are sent by the next command",
                *(self._sender.uri, waiting, self._spool.path),
            )
        self._spool.close()

    def _system(self, values: Mapping[str, float]) -> None:
        """Notes what the machine does; its steps count on over resumes."""
        step = max((self._spool.marks.get(key, -1) for key in values), default=-1) + 1
        self._append("metrics", dict(values), step)

    def _append(self, kind: Any, value: Mapping[str, Any], step: int = 0) -> None:
        self._spool.append(kind, value, step)
        self._start()

    def _start(self) -> None:
        """Starts the thread with the first thing to send."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._send_on, name="kinesweep-tracking", daemon=True
            )
            self._thread.start()

    def _send_on(self) -> None:
        """Sends until the run ends, or until the server is away when it does."""
        pause_s = 0.0
        while True:
            self._closing.wait(pause_s)
            closing = self._closing.is_set()
            began = time.monotonic()
            away = not self._sender.send()
            if closing and (away or not self._spool.pending()):
                return
            took_s = time.monotonic() - began
            if away:
                pause_s = min(_LONGEST_S, max(_FLUSH_S, 2 * pause_s))
            else:
                pause_s = min(_LONGEST_S, max(_FLUSH_S, took_s / _SHARE))


def _parts(values: Mapping[str, Any], most: int) -> Iterator[dict[str, Any]]:
    """The entries in pieces that one call can carry."""
    items = iter(values.items())
    while part := dict(itertools.islice(items, most)):
        yield part
