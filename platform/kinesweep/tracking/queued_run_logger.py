"""The log of one run: records are stored on disk at once and passed to the trackers by threads.

Everything a run records goes into its offline queue (`offline_queue`), which all its trackers
consume, each with a thread of its own (`background_sender`). While a server is unavailable the
queue grows. The thread tries again, then the next process of the run does, and for runs that have
ended `backends.Tracker.flush_pending` does. Each point arrives exactly once: its timestamp is fixed
when it is recorded, and steps that were recorded before a run was killed are not recorded again
when they are trained again. The steps of each metric must therefore increase.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.core.run_logger import RunStatus
from kinesweep.tracking.background_sender import BackgroundSender, RecordSender
from kinesweep.tracking.mlflow_limits import (
    MAX_METRICS,
    MAX_PARAMS_OR_TAGS,
    format_param_value,
    sanitize_key,
)
from kinesweep.tracking.offline_queue import OfflineQueue
from kinesweep.tracking.queue_file import RecordKind
from kinesweep.tracking.system_monitor import SystemMonitor

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunIdentifiers:
    """The identity of a run in its trackers.

    Attributes:
        key: Unique key that stays the same after a resume, for example the path of the run's
            folder.
        title: Name shown in the UI.
        tags: Further tags, such as `config_hash`, `seed`, `phase`.
        parent: Key of the parent run, that is, the run of the sweep; None without a sweep.
        objectives: Metrics that a sweep optimizes; of the run that stands for a sweep.
        swept_params: Parameter that a sweep varies → `number`, `flag` or `text`; of the run that
            stands for a sweep.
    """

    key: str
    title: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    objectives: tuple[str, ...] = ()
    swept_params: Mapping[str, str] = field(default_factory=dict)


class QueuedRunLogger:
    """A `RunLogger` for one or several trackers, opened by `backends.Tracker.open_run_logger`.

    Records that an earlier process of the run could not send are sent in the background at once.

    Args:
        queue: Offline queue of the run.
        senders: Senders that consume the queue, one for each tracker.
    """

    def __init__(self, queue: OfflineQueue, senders: Sequence[RecordSender]) -> None:
        self._queue = queue
        self._senders = [BackgroundSender(sender) for sender in senders]
        self._monitor: SystemMonitor | None = None
        # An earlier process of this run may have left records that it could not send.
        for background_sender in self._senders:
            if background_sender.sender.get_pending_records():
                background_sender.start()

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
        """Return the number of records that at least one tracker does not have yet."""
        return max(len(each.sender.get_pending_records()) for each in self._senders)

    def finish(self, status: RunStatus) -> None:
        """Record the final status, send the remaining records and close the log.

        System metrics end too. The call waits until the trackers have all records. If a server is
        unavailable, the records stay in the offline queue and a warning is logged.

        Args:
            status: Final status of the run.
        """
        if self._monitor is not None:
            # The monitor appends records from its own thread, so it stops before the final status.
            self._monitor.stop()
        if self._queue.status != status:
            self._append_record("finish", {"status": status})
        # All are asked before one is waited for, so the slowest alone sets the time.
        for background_sender in self._senders:
            background_sender.begin_finish(status)
        for background_sender in self._senders:
            background_sender.wait_finished()
            num_pending = len(background_sender.sender.get_pending_records())
            if num_pending:
                _log.warning(
                    "%s is unavailable; %d records are queued in %s and will be sent by the next"
                    " command",
                    *(background_sender.sender.target, num_pending, self._queue.path),
                )
        # After the threads have ended, because they acknowledge records in the queue.
        self._queue.close()

    def _log_system_metrics(self, values: Mapping[str, float]) -> None:
        """Record system metrics at the step after their last one, also in a resumed run."""
        step = max((self._queue.last_steps.get(key, -1) for key in values), default=-1) + 1
        self._append_record("metrics", dict(values), step)

    def _append_record(self, kind: RecordKind, value: Mapping[str, Any], step: int = 0) -> None:
        """Append a record to the offline queue and start the sending threads if necessary."""
        self._queue.append(kind, value, step)
        for background_sender in self._senders:
            background_sender.start()


def _split_entries(values: Mapping[str, Any], max_entries: int) -> Iterator[dict[str, Any]]:
    """Yield the entries of a mapping in parts of at most `max_entries`, unchanged in order."""
    items = iter(values.items())
    while entries := dict(itertools.islice(items, max_entries)):
        yield entries
