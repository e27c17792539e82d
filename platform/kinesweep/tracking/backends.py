"""Tracking backends: picklable values from which any process can open the log of a run.

All backends of a run consume the same offline queue, so a run can be recorded by several of them at
once, with the same points in each.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from kinesweep.core.errors import TrackingError
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.tracking.background_sender import RecordSender
from kinesweep.tracking.offline_queue import MLFLOW_CONSUMER, OfflineQueue
from kinesweep.tracking.queued_run_logger import QueuedRunLogger, RunIdentifiers
from kinesweep.tracking.tensorboard.sender import TENSORBOARD_CONSUMER, TensorBoardSender
from kinesweep.tracking.uploader import RunUploader
from kinesweep.tracking.wandb.run_settings import WandbMode
from kinesweep.tracking.wandb.sender import WANDB_CONSUMER, WandbSender

QUEUE_FILE = "tracking.jsonl"
_LOCK_TIMEOUT_S = 60.0
"""Longest wait for the lock of an offline queue: a killed process may take a moment to exit.

Training waits equally long for the folder of the run.
"""


class Tracker(Protocol):
    """A tracking backend, or several, that opens run loggers; picklable.

    `notice` is a message for the user about the choice of backend, such as a warning that the
    server does not answer; it may be empty.
    """

    @property
    def notice(self) -> str:
        """Return the message for the user, which may be empty."""

    @property
    def members(self) -> "tuple[SingleTracker, ...]":
        """Return the single backends, each of which records every run."""

    def open_run_logger(
        self, identity: RunIdentifiers, folder: Path, overwrite: bool = False
    ) -> RunLogger:
        """Open the logger of a run, whose offline queue is in `folder`.

        Args:
            identity: Key, title and tags of the run.
            folder: Folder of the run.
            overwrite: Begin another run instead of continuing the recorded one.

        Raises:
            TrackingError: If another process is recording this run.
        """

    def flush_pending(self, root: Path) -> int:
        """Send the queued records of all runs that no process is recording.

        Args:
            root: Folder that is searched for offline queues, with its subfolders.

        Returns:
            Number of records that are still queued.
        """


@dataclass(frozen=True)
class NullTracker:
    """A backend that records nothing.

    Attributes:
        notice: Reason why nothing is recorded, if the user may have expected a record.
    """

    notice: str = ""

    @property
    def members(self) -> "tuple[SingleTracker, ...]":
        """Return no backend."""
        return ()

    def open_run_logger(
        self, identity: RunIdentifiers, folder: Path, overwrite: bool = False
    ) -> RunLogger:
        """Return a logger that discards everything."""
        return NullRunLogger()

    def flush_pending(self, root: Path) -> int:
        """Return 0, because nothing is queued."""
        return 0


class QueueTracker(ABC):
    """One backend or several that consume the offline queues of runs; the base of all that record.

    A subclass has the field `notice`.
    """

    notice: str

    @property
    @abstractmethod
    def members(self) -> "tuple[SingleTracker, ...]":
        """Return the single backends, at least one, each of which records every run."""

    def open_run_logger(
        self, identity: RunIdentifiers, folder: Path, overwrite: bool = False
    ) -> RunLogger:
        """Open the logger of a run, which continues the recorded run of the queue in `folder`.

        The arguments and errors are those of `Tracker.open_run_logger`. In MLflow and W&B, an
        overwritten run remains, but loses its key.
        """
        # Tags may change between processes of a run and are recorded below; the header of a queue
        # is fixed.
        fixed_fields = {key: value for key, value in asdict(identity).items() if key != "tags"}
        header = {**fixed_fields, "experiment": self.members[0].experiment}
        consumers = [member.consumer for member in self.members]
        queue = OfflineQueue(folder / QUEUE_FILE, header, _LOCK_TIMEOUT_S, overwrite, consumers)
        run_logger = QueuedRunLogger(queue, [member.open_sender(queue) for member in self.members])
        run_logger.set_tags({key: str(value) for key, value in identity.tags.items()})
        return run_logger

    def flush_pending(self, root: Path) -> int:
        """Send the queued records of all runs below a folder that no process is recording.

        A run that another process is recording is skipped, because that process sends by itself,
        and so are the trackers that a run was not recorded by. If a tracker is unavailable, a
        warning is logged and the records stay queued.

        Args:
            root: Folder that is searched for offline queues, with its subfolders.

        Returns:
            Number of records that are still queued, without those of skipped runs.
        """
        away: set[str] = set()
        queues = _iter_unused_queues(root)
        return sum(_flush_queue(queue, self.members, away) for queue in queues)


class SingleTracker(QueueTracker):
    """A single backend.

    Attributes:
        experiment: Name of the experiment or project in which runs are recorded.
        consumer: Name under which the backend consumes an offline queue.
        is_slow_to_fail: Whether a server that is away is found out only after many seconds.
    """

    experiment: str
    consumer: str
    is_slow_to_fail = False

    @property
    def members(self) -> "tuple[SingleTracker, ...]":
        """Return this backend alone."""
        return (self,)

    @abstractmethod
    def open_sender(self, queue: OfflineQueue) -> RecordSender:
        """Return the sender of a run, which consumes its queue as `consumer`."""


def _iter_unused_queues(root: Path) -> Iterator[OfflineQueue]:
    """Yield the offline queues below a folder that no process has open; each is closed again."""
    queue_paths = (
        Path(folder) / QUEUE_FILE
        for folder, _, file_names in os.walk(root)
        if QUEUE_FILE in file_names
    )
    for path in sorted(queue_paths):
        # No waiting: a held lock means that the run's own process is alive.
        with suppress(TrackingError):
            queue = OfflineQueue(path, None, 0.0)
            yield queue
            queue.close()


def _flush_queue(queue: OfflineQueue, members: Sequence[SingleTracker], away: set[str]) -> int:
    """Send the pending records of one queue; return the number of those that remain.

    Args:
        queue: Queue of a run that no process is recording.
        members: Trackers.
        away: Consumers that failed for an earlier queue and take long to fail; such ones are added.
    """
    num_pending = 0
    for member in members:
        if not queue.header or member.consumer not in queue.known_consumers:
            continue
        sender = member.open_sender(queue)
        if sender.get_pending_records() and member.consumer not in away:
            is_sent = sender.send_pending()
            sender.close(queue.status)
            if not is_sent and member.is_slow_to_fail:
                # Every other run would wait equally long for the same server.
                away.add(member.consumer)
        num_pending = max(num_pending, len(sender.get_pending_records()))
    return num_pending


@dataclass(frozen=True)
class MlflowTracker(SingleTracker):
    """A backend that records runs in one experiment of an MLflow server.

    Attributes:
        uri: Address of the server.
        experiment: Name of the experiment.
        lock_path: Lock file visible to all processes of the experiment; runs are created under it,
            one at a time.
        notice: Warning about the server; empty if it answers.
    """

    uri: str
    experiment: str
    lock_path: Path
    notice: str = field(default="", compare=False)

    consumer = MLFLOW_CONSUMER

    def open_sender(self, queue: OfflineQueue) -> RecordSender:
        """Return the uploader of a run."""
        return RunUploader(self.uri, queue, self.lock_path)


@dataclass(frozen=True)
class TensorBoardTracker(SingleTracker):
    """A backend that writes an event file for TensorBoard into the folder of each run.

    Attributes:
        experiment: Name of the experiment, for the other consumers of a queue.
        notice: Always empty: nothing but the disk is needed.
    """

    experiment: str
    notice: str = field(default="", compare=False)

    consumer = TENSORBOARD_CONSUMER

    def open_sender(self, queue: OfflineQueue) -> RecordSender:
        """Return the writer of a run's event file."""
        return TensorBoardSender(queue)


@dataclass(frozen=True)
class WandbTracker(SingleTracker):
    """A backend that records runs in a project of Weights & Biases, online or offline.

    Attributes:
        experiment: Name of the experiment, from which that of the project is made.
        mode: Whether runs are sent to the server or only written to disk.
        base_url: Address of the W&B server; empty: W&B's own default.
        notice: Message about the choice of the mode.
    """

    experiment: str
    mode: WandbMode
    base_url: str = ""
    notice: str = field(default="", compare=False)

    consumer = WANDB_CONSUMER
    is_slow_to_fail = True

    def open_sender(self, queue: OfflineQueue) -> RecordSender:
        """Return the sender of a run."""
        return WandbSender(queue, self.mode, self.base_url)


@dataclass(frozen=True)
class CombinedTracker(QueueTracker):
    """Several backends that all record every run, from one offline queue a run.

    Attributes:
        trackers: The backends; at least one.
    """

    trackers: tuple[QueueTracker, ...]

    @property
    def members(self) -> tuple[SingleTracker, ...]:
        """Return the single backends."""
        return tuple(member for tracker in self.trackers for member in tracker.members)

    @property
    def notice(self) -> str:  # type: ignore[override]
        """Return the messages of all backends."""
        return "; ".join(tracker.notice for tracker in self.trackers if tracker.notice)
