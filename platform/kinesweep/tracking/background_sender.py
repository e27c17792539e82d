"""A thread that passes the queued records of a run on to one tracker.

Each tracker of a run has a sender and a thread of its own, so one that does not answer delays no
other. A pass takes place about once per second and takes at most 2 % of the time (MLflow takes
480 ms for 20 metrics in single calls and 35 ms in one batch).
"""

import logging
import threading
import time
from typing import Protocol

from kinesweep.core.run_logger import RunStatus
from kinesweep.tracking.queue_file import QueuedRecord

_log = logging.getLogger(__name__)
# Pause between passes, largest share of time spent sending, longest pause.
_MIN_PAUSE_S, _MAX_SENDING_SHARE, _MAX_PAUSE_S = 1.0, 0.02, 30.0


class RecordSender(Protocol):
    """A sender, which passes the records of one run on to one tracker; used by one thread.

    No method may raise.
    """

    @property
    def target(self) -> str:
        """Return the name of the tracker and its address, for messages."""

    @property
    def finish_timeout_s(self) -> float | None:
        """Return the longest wait for the last pass in seconds; None if each call has a limit."""

    def get_pending_records(self) -> list[QueuedRecord]:
        """Return the records that the tracker does not have yet, oldest first."""

    def send_pending(self) -> bool:
        """Pass all pending records on, oldest first.

        Returns:
            Whether the tracker took them all.
        """

    def close(self, status: RunStatus | None) -> None:
        """End the use of the tracker in this process, after the last `send_pending`.

        Args:
            status: Final status of the run; None if the run goes on elsewhere.
        """


class BackgroundSender:
    """A thread that calls a sender until `finish`; it starts with the first record.

    Args:
        sender: Sender of a run.
    """

    def __init__(self, sender: RecordSender) -> None:
        self.sender = sender
        self._closing = threading.Event()
        self._status: RunStatus | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it has been started."""
        if self._thread is None:
            # A daemon, so that an unavailable server cannot keep the process from exiting.
            self._thread = threading.Thread(
                target=self._send_until_closed, name="kinesweep-tracking", daemon=True
            )
            self._thread.start()

    def begin_finish(self, status: RunStatus) -> None:
        """Ask the thread to send what is pending, to close the sender and to end."""
        self._status = status
        self._closing.set()

    def wait_finished(self) -> None:
        """Wait for the end of the thread after `begin_finish`, for `finish_timeout_s` at most."""
        if self._thread is not None:
            timeout_s = self.sender.finish_timeout_s
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _log.warning("%s did not finish within %.0f s", self.sender.target, timeout_s)
            self._thread = None

    def _send_until_closed(self) -> None:
        """Send until the run ends and everything is sent or the tracker is unavailable."""
        pause_s = 0.0
        while True:
            # Waiting for the event instead of sleeping lets `finish` cut a pause short.
            self._closing.wait(pause_s)
            # Read before sending: records appended before `_closing` was set are then part of this
            # pass.
            closing = self._closing.is_set()
            start_time = time.monotonic()
            is_unavailable = not self.sender.send_pending()
            if closing and (is_unavailable or not self.sender.get_pending_records()):
                self.sender.close(self._status)
                return
            elapsed_s = time.monotonic() - start_time
            # Double the pause while the server is unavailable; otherwise make the pause long enough
            # for sending to take at most `_MAX_SENDING_SHARE` of the time.
            if is_unavailable:
                pause_s = min(_MAX_PAUSE_S, max(_MIN_PAUSE_S, 2 * pause_s))
            else:
                pause_s = min(_MAX_PAUSE_S, max(_MIN_PAUSE_S, elapsed_s / _MAX_SENDING_SHARE))
