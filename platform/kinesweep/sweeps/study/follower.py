"""A thread that keeps the study of a sweep up to date while the driver writes the journal.

The driver never waits for the storage, which may be locked or away: the thread reads the journal's
events in memory twice a second and, after a failure, opens the study again with longer and longer
pauses. What is missing at the end is added by the next command that opens the study.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.study_mirror import StudyMirror

logger = logging.getLogger(__name__)
_PAUSE_S, _MAX_PAUSE_S = 0.5, 60.0
_CLOSE_TIMEOUT_S = 10.0


@contextmanager
def follow_journal(journal: Journal, space: SearchSpace, folder: Path) -> Iterator[None]:
    """Keep the study of a sweep up to date within the `with` block; never raises an error itself.

    Args:
        journal: Journal of the sweep, which has been started.
        space: Search space of the sweep.
        folder: Folder of the sweep.
    """
    follower = _Follower(journal, space, folder)
    follower.start()
    try:
        yield
    finally:
        follower.finish()


class _Follower(threading.Thread):
    """The thread of `follow_journal`, whose arguments it has.

    A daemon, so that a storage that does not answer cannot keep the process from exiting.
    """

    def __init__(self, journal: Journal, space: SearchSpace, folder: Path) -> None:
        super().__init__(name="kinesweep-study", daemon=True)
        self._journal, self._space, self._folder = journal, space, folder
        self._closing = threading.Event()
        self._mirror: StudyMirror | None = None
        self._num_applied = 0
        self._has_warned = False

    def run(self) -> None:
        """Write new events until `finish`, and then once more."""
        pause_s = _PAUSE_S
        while True:
            # Read before the events: those written before `finish` are part of this pass.
            closing = self._closing.is_set()
            is_written = self._try_write_events()
            if closing:
                break
            pause_s = _PAUSE_S if is_written else min(_MAX_PAUSE_S, 2 * pause_s)
            self._closing.wait(pause_s)
        self._close_mirror()

    def finish(self) -> None:
        """Wait until everything is written, but not for long."""
        self._closing.set()
        # What a slow storage does not take in this time is added by the next command.
        self.join(_CLOSE_TIMEOUT_S)
        if self.is_alive() and not self._has_warned:
            self._warn("its storage does not answer")

    def _try_write_events(self) -> bool:
        """Write the events since the last call; return whether the storage took them."""
        # Events are only appended, by the driver's thread.
        num_events = len(self._journal.events)
        try:
            # Inside: the file may be removed or hidden at any time, and an error would end the
            # thread without a word.
            if self._mirror is not None and self._mirror.is_replaced:
                self._close_mirror()
            is_current = self._mirror is not None and num_events == self._num_applied
            if is_current and not self._closing.is_set():
                return True
            if self._mirror is None:
                events = self._journal.events[:num_events]
                self._mirror = StudyMirror(self._folder, self._space, events)
            else:
                self._mirror.apply_events(self._journal.events[self._num_applied : num_events])
            if self._closing.is_set():
                # Trials that others added since the last one of ours.
                self._mirror.remove_foreign_trials()
        except Exception as error:
            # Whatever happens here, the sweep goes on: the journal has everything.
            self._close_mirror()
            if not self._has_warned:
                self._warn(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
            return False
        self._num_applied = num_events
        return True

    def _close_mirror(self) -> None:
        """Close the study, so that the next pass opens it again."""
        if self._mirror is not None:
            self._mirror.close()
        self._mirror = None

    def _warn(self, reason: str) -> None:
        """Log once that the study is not up to date."""
        self._has_warned = True
        logger.warning(
            f"the Optuna study of sweep {self._folder.name} is not up to date ({reason}). The sweep"
            " goes on; the study is completed as soon as its storage answers, or by"
            f" `kinesweep ui {self._folder.name}`"
        )
