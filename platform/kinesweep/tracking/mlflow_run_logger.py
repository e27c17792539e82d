"""The log of one run in MLflow: records are stored on disk at once and sent in the background.

Everything a run records goes into its offline queue (`offline_queue`), from which a thread sends it
in batches, about once per second and for at most 2 % of the time (MLflow takes 480 ms for 20
metrics in single calls and 35 ms in one batch). While the server is unavailable the queue grows.
The thread tries again, then the next process of the run does, and for runs that have ended
`backends.MlflowTracker.flush_pending` does. Each point arrives exactly once: its timestamp is fixed
when it is recorded, and steps that were recorded before a run was killed are not recorded again
when they are trained again. The steps of each metric must therefore increase.
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
from kinesweep.tracking.mlflow_limits import (
    MAX_METRICS,
    MAX_PARAMS_OR_TAGS,
    format_param_value,
    sanitize_key,
)
from kinesweep.tracking.offline_queue import RecordKind
from kinesweep.tracking.system_monitor import SystemMonitor
from kinesweep.tracking.uploader import RunUploader

_log = logging.getLogger(__name__)
# Pause between batches, largest share of time spent sending, longest pause.
_MIN_PAUSE_S, _MAX_SENDING_SHARE, _MAX_PAUSE_S = 1.0, 0.02, 30.0


@dataclass(frozen=True)
class RunIdentifiers:
    """The identity of a run in MLflow.

    Attributes:
        key: Unique key that stays the same after a resume, for example the path of the run's
            folder.
        title: Name shown in the UI.
        tags: Further tags, such as `config_hash`, `seed`, `phase`.
        parent: Key of the parent run, that is, the run of the sweep; None without a sweep.
    """

    key: str
    title: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None


class MlflowRunLogger:
    """A `RunLogger` for MLflow, opened by `backends.MlflowTracker.open_run_logger`.

    Records that an earlier process of the run could not send are sent in the background at once.

    Args:
        uploader: Uploader for the run's offline queue.
    """

    def __init__(self, uploader: RunUploader) -> None:
        self._uploader = uploader
        self._queue = uploader.queue
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._monitor: SystemMonitor | None = None
        # An earlier process of this run may have left records that it could not send.
        if self._queue.get_pending_records():
            self._start_thread()

    def log_params(self, values: Mapping[str, object]) -> None:
        """Record parameters of the run; a parameter that was already recorded keeps its value.

        Args:
            values: Dotted name of a parameter → value.
        """
        sanitized = {sanitize_key(key): format_param_value(value) for key, value in values.items()}
        # MLflow refuses to change the value of a parameter.
        new_params = {
            key: value for key, value in sanitized.items() if key not in self._queue.params
        }
        for entries in _split_entries(new_params, MAX_PARAMS_OR_TAGS):
            self._append_record("params", entries)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record the measurements of a step, except metrics already recorded at this step or later.

        The first call also starts to record system metrics in the background (`SystemMonitor`).

        Args:
            values: Metric → value.
            step: Step of the measurements.
        """
        sanitized = {sanitize_key(key): float(value) for key, value in values.items()}
        last_steps = self._queue.last_steps
        # A metric without a last step is new: the default `step - 1` is always below `step`.
        new_metrics = {
            key: value for key, value in sanitized.items() if step > last_steps.get(key, step - 1)
        }
        for entries in _split_entries(new_metrics, MAX_METRICS):
            self._append_record("metrics", entries, step)
        # Started with the first metric, so runs that never train start no monitor.
        if self._monitor is None:
            self._monitor = SystemMonitor(self._log_system_metrics)

    def log_artifact(self, path: Path) -> None:
        """Queue the upload of a file or folder to the run's artifacts.

        Args:
            path: File or folder; it must not be moved until the server has it.
        """
        self._append_record("artifact", {"path": str(Path(path).absolute())})

    def log_dataset(self, name: str, digest: str) -> None:
        """Record the dataset on which the run is trained.

        Args:
            name: Name of the dataset.
            digest: Fingerprint of the feature store.
        """
        self._append_record("dataset", {"name": name, "digest": digest})

    def set_tags(self, values: Mapping[str, str]) -> None:
        """Record the tags that are new or have changed; not part of `RunLogger`.

        Args:
            values: Name of a tag → value.
        """
        current_tags = self._queue.tags
        changed_tags = {
            key: value for key, value in values.items() if current_tags.get(key) != value
        }
        for entries in _split_entries(changed_tags, MAX_PARAMS_OR_TAGS):
            self._append_record("tags", entries)

    def count_pending_records(self) -> int:
        """Return the number of records that the server has not confirmed."""
        return len(self._queue.get_pending_records())

    def finish(self, status: RunStatus) -> None:
        """Record the final status, send the remaining records and close the log.

        System metrics end too. The call waits until the server has all records. If the server is
        unavailable, the records stay in the offline queue and a warning is logged.

        Args:
            status: Final status of the run.
        """
        if self._monitor is not None:
            # The monitor appends records from its own thread, so it stops before the final status.
            self._monitor.stop()
        if self._queue.status != status:
            self._append_record("finish", {"status": status})
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        num_pending = len(self._queue.get_pending_records())
        if num_pending:
            _log.warning(
                "MLflow at %s is unavailable; %d records are queued in %s and will be sent by the"
                " next command",
                *(self._uploader.uri, num_pending, self._queue.path),
            )
        # After the thread has ended, because the thread acknowledges records in the queue.
        self._queue.close()

    def _log_system_metrics(self, values: Mapping[str, float]) -> None:
        """Record system metrics at the step after their last one, also in a resumed run."""
        step = max((self._queue.last_steps.get(key, -1) for key in values), default=-1) + 1
        self._append_record("metrics", dict(values), step)

    def _append_record(self, kind: RecordKind, value: Mapping[str, Any], step: int = 0) -> None:
        """Append a record to the offline queue and start the sending thread if necessary."""
        self._queue.append(kind, value, step)
        self._start_thread()

    def _start_thread(self) -> None:
        """Start the sending thread unless it has been started."""
        if self._thread is None:
            # A daemon, so that an unavailable server cannot keep the process from exiting.
            self._thread = threading.Thread(
                target=self._send_until_closed, name="kinesweep-tracking", daemon=True
            )
            self._thread.start()

    def _send_until_closed(self) -> None:
        """Send until `finish` was called and the queue is empty or the server is unavailable."""
        pause_s = 0.0
        while True:
            # Waiting for the event instead of sleeping lets `finish` cut a pause short.
            self._closing.wait(pause_s)
            # Read before sending: records appended before `_closing` was set are then part of this
            # pass.
            closing = self._closing.is_set()
            start_time = time.monotonic()
            is_unavailable = not self._uploader.send_pending()
            if closing and (is_unavailable or not self._queue.get_pending_records()):
                return
            elapsed_s = time.monotonic() - start_time
            # Double the pause while the server is unavailable; otherwise make the pause long enough
            # for sending to take at most `_MAX_SENDING_SHARE` of the time.
            if is_unavailable:
                pause_s = min(_MAX_PAUSE_S, max(_MIN_PAUSE_S, 2 * pause_s))
            else:
                pause_s = min(_MAX_PAUSE_S, max(_MIN_PAUSE_S, elapsed_s / _MAX_SENDING_SHARE))


def _split_entries(values: Mapping[str, Any], max_entries: int) -> Iterator[dict[str, Any]]:
    """Yield the entries of a mapping in parts of at most `max_entries`, unchanged in order."""
    items = iter(values.items())
    while entries := dict(itertools.islice(items, max_entries)):
        yield entries
