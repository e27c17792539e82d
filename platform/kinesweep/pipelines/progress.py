"""Progress of pipelines: log lines by default, a richer display where the caller installs one.

Pipelines never print. They log messages with `logging` and report progress through the display that
is installed here; the command line installs a terminal display (`cli.console`). Programs that call
pipelines from Python and install nothing get one log line per tenth of the work.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

logger = logging.getLogger(__name__)


class ProgressCallback(Protocol):
    """A function that is called with the progress of a task."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report progress.

        Args:
            done: Number of finished items.
            total: Number of all items.
            note: Text to show beside the numbers.
        """


class ProgressDisplay(Protocol):
    """A display of progress, such as a terminal or a notebook."""

    def show_task(self, title: str) -> AbstractContextManager[ProgressCallback]:
        """Return a context in which one task is shown; it yields the callback of the task."""

    def show_sweep(self, folder: Path, since: float | None) -> AbstractContextManager[None]:
        """Return a context in which the sweep in a folder is shown; see `show_sweep_progress`."""


class LogDisplay:
    """A display that logs a line at each tenth of a task and nothing more for a sweep."""

    def show_task(self, title: str) -> AbstractContextManager[ProgressCallback]:
        """Return a context whose callback logs a line at each tenth of the task."""
        return _log_each_tenth(title)

    def show_sweep(self, folder: Path, since: float | None) -> AbstractContextManager[None]:
        """Return an empty context: a sweep logs its trials itself."""
        return nullcontext()


@contextmanager
def _log_each_tenth(title: str) -> Iterator[ProgressCallback]:
    """Yield a callback that logs a line at each tenth of the task, at most eleven lines."""
    last_tenth = -1

    def update(done: int, total: int, note: str = "", /) -> None:
        nonlocal last_tenth
        tenth = 10 * done // max(total, 1)
        if tenth > last_tenth:
            last_tenth = tenth
            logger.info(f"{title}: {done} of {total}{note and f'  {note}'}")

    yield update


_display: ProgressDisplay = LogDisplay()


def install_display(display: ProgressDisplay) -> None:
    """Show the progress of all pipelines of this process on `display`."""
    global _display
    _display = display


def show_progress_bar(title: str) -> AbstractContextManager[ProgressCallback]:
    """Return a context in which the progress of one task is shown.

    Args:
        title: Name of the task, such as `extract`.
    """
    return _display.show_task(title)


def show_sweep_progress(folder: Path, since: float | None = None) -> AbstractContextManager[None]:
    """Return a context in which the progress of a sweep is shown.

    Args:
        folder: Folder of the sweep; it may not exist yet.
        since: Start in seconds since the epoch. A driver that started earlier is ignored, because
            it belongs to a previous run of the sweep.
    """
    return _display.show_sweep(folder, since)
