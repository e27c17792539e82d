"""The event file of a run, a copy of its offline queue in TensorBoard's format.

The file is `RUN_FOLDER/events.out.tfevents.kinesweep`, so `tensorboard --logdir SWEEP_FOLDER` shows
one run for each run folder. Each record of the queue becomes the same bytes whenever it is written:
times come from the queue. The queue stores how long the file was when it was last in step. A killed
process may have written further or half an event; the next one cuts the file back to that length
and writes on, so each point is in the file once. A record of 20 metrics costs 0.06 ms.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kinesweep.core.run_logger import RunStatus
from kinesweep.tracking.offline_queue import OfflineQueue
from kinesweep.tracking.queue_file import QueuedRecord

_log = logging.getLogger(__name__)
TENSORBOARD_CONSUMER = "tensorboard"
EVENT_FILE = "events.out.tfevents.kinesweep"
_SIZE_KEY = "bytes"


class TensorBoardSender:
    """A sender that writes the event file of one run.

    Args:
        queue: Offline queue of the run, opened by this process.
    """

    def __init__(self, queue: OfflineQueue) -> None:
        self._queue = queue
        self._path = queue.path.parent / EVENT_FILE
        self._writer: Any = None
        self._has_warned = False

    @property
    def target(self) -> str:
        """Return the name of the tracker and the path of the event file."""
        return f"TensorBoard at {self._path}"

    @property
    def finish_timeout_s(self) -> None:
        """Return None: writing a file ends by itself."""

    def get_pending_records(self) -> list[QueuedRecord]:
        """Return the records that are not in the event file, oldest first."""
        return self._queue.get_pending_records(TENSORBOARD_CONSUMER)

    def send_pending(self) -> bool:
        """Write all pending records; a failure is logged once and never raised.

        Returns:
            Whether all are written. After a failure, such as a full disk, the next call cuts the
            file back and tries again.
        """
        try:
            self._write_records(self.get_pending_records())
        except Exception as error:
            # No failure of tracking may stop training.
            self._release()
            if not self._has_warned:
                _log.warning("%s failed (%r); records are queued", self.target, error)
            self._has_warned = True
            return False
        self._has_warned = False
        return True

    def close(self, status: RunStatus | None) -> None:
        """Close the event file; a record of the queue holds the final status."""
        self._release()

    def _write_records(self, records: Sequence[QueuedRecord]) -> None:
        """Write records to the end of the file and store its new length in the queue.

        Raises:
            OSError: If the file cannot be written.
        """
        if not records:
            return
        # Imported by the sending thread: the import takes 0.2 s.
        from kinesweep.tracking.tensorboard.events import EventWriter

        if self._writer is None:
            is_started = self._cut_file()
            # The cut may have made earlier records pending again.
            records = self.get_pending_records()
            self._writer = EventWriter(self._path, self._queue.header, is_started)
        for record in records:
            if self._writer.needs_params(record):
                earlier = [
                    r for r in self._queue.read_records() if r.end_offset < record.end_offset
                ]
                self._writer.write_session_start(earlier, record)
            self._writer.write_record(record)
        # Stored after the flush, so that the length never exceeds what is in the file.
        state = {_SIZE_KEY: self._writer.flush(), "started": self._writer.is_started}
        self._queue.acknowledge(records[-1], TENSORBOARD_CONSUMER, state)

    def _cut_file(self) -> bool:
        """Cut the file to the length at which it was in step with the queue.

        A file that is shorter or was removed is written again from the beginning.

        Returns:
            Whether the event with the run's parameters is in the file.
        """
        state = self._queue.states.get(TENSORBOARD_CONSUMER, {})
        size_bytes = self._path.stat().st_size if self._path.exists() else 0
        if state.get(_SIZE_KEY, 0) > size_bytes:
            state = {}
            self._queue.rewind(TENSORBOARD_CONSUMER)
        if not state and self._queue.is_compacted:
            _log.warning(
                "%s lacks the points that were recorded before TensorBoard was chosen", self.target
            )
        # The mode creates a missing file and keeps the contents of an existing one.
        with self._path.open("ab") as file:
            file.truncate(state.get(_SIZE_KEY, 0))
        return bool(state.get("started"))

    def _release(self) -> None:
        """Close the event file if it is open; the next write cuts it back first."""
        if self._writer is not None:
            # After a failed write, closing tries to write the rest again.
            with suppress(OSError):
                self._writer.close()
            self._writer = None
