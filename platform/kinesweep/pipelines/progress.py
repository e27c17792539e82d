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

    def __call__(self, num_done: int, num_items: int, note: str = "", /) -> None:
        """Report the progress of the task.

        Args:
            num_done: Number of finished items.
            num_items: Number of all items.
            note: Text to show beside the numbers.
        """


class ProgressDisplay(Protocol):
    """A display of progress, such as a terminal or a notebook."""

    def show_task(self, title: str) -> AbstractContextManager[ProgressCallback]:
        """Return a context in which one task is shown, and which yields the task's callback."""

    def show_sweep(self, folder: Path, since: float | None) -> AbstractContextManager[None]:
        """Return a context in which the sweep in a folder is shown; see `show_sweep_progress`."""


class LogDisplay:
    """A display that logs a line at each tenth of a task and nothing more for a sweep."""

    def show_task(self, title: str) -> AbstractContextManager[ProgressCallback]:
        """Return a context whose callback logs a line at each tenth of the task."""
        return _log_each_tenth(title)

    def show_sweep(self, folder: Path, since: float | None) -> AbstractContextManager[None]:
        """Return a context that does nothing, because a sweep logs its trials itself."""
        return nullcontext()


@contextmanager
def _log_each_tenth(title: str) -> Iterator[ProgressCallback]:
    """Yield a callback that logs a line at each tenth of the task, at most eleven lines."""
    # Below 0, so that a call with nothing done logs the first line.
    last_tenth = -1

    def update(num_done: int, num_items: int, note: str = "", /) -> None:
        nonlocal last_tenth
        tenth = 10 * num_done // max(num_items, 1)
        if tenth > last_tenth:
            last_tenth = tenth
            logger.info(f"{title}: {num_done} of {num_items}{note and f'  {note}'}")

    yield update


_display: ProgressDisplay = LogDisplay()


def install_display(display: ProgressDisplay) -> None:
    """Install the display on which all pipelines of this process show their progress."""
    global _display
    _display = display


def show_progress_bar(title: str) -> AbstractContextManager[ProgressCallback]:
    """Return a context in which the installed display shows one task.

    The context yields the function that reports the progress of the task.

    Args:
        title: Name of the task, such as `extract`.
    """
    return _display.show_task(title)


def show_sweep_progress(folder: Path, since: float | None = None) -> AbstractContextManager[None]:
    """Return a context in which the installed display shows the progress of a sweep.

    Args:
        folder: Folder of the sweep; it may not exist yet.
        since: Unix time in seconds. Progress of a driver process that was started earlier is not
            shown, because it belongs to an earlier call for the same sweep. None: now.
    """
    return _display.show_sweep(folder, since)
