"""Progress of pipelines in a Jupyter notebook: an HTML progress bar and log lines below a cell.

It uses IPython's display protocol alone, so that no widget extension has to be installed.
"""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from html import escape
from typing import Any

from kinesweep.pipelines.progress import LogDisplay, ProgressCallback, install_display

# A notebook stores every update that it receives; more of them cost more than they show.
_MIN_UPDATE_S = 0.2


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class _NotebookHandler(logging.Handler):
    """A logging handler that prints messages below the running cell."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print(record.getMessage())


class NotebookDisplay(LogDisplay):
    """A progress display with HTML bars; a sweep logs its trials as lines."""

    def show_task(self, title: str) -> AbstractContextManager[ProgressCallback]:
        """Return a context that shows an HTML progress bar."""
        return _show_html_bar(title)


def show_notebook_progress() -> None:
    """Show the log messages and the progress of pipelines below the running cell; idempotent."""
    logger = logging.getLogger("kinesweep")
    if not any(isinstance(handler, _NotebookHandler) for handler in logger.handlers):
        logger.addHandler(_NotebookHandler(logging.INFO))
        logger.setLevel(logging.INFO)
    install_display(NotebookDisplay())
    # Libraries that use tqdm ask for a widget extension; nothing here needs it.
    warnings.filterwarnings("ignore", message="IProgress not found")


@contextmanager
def _show_html_bar(title: str) -> Iterator[ProgressCallback]:
    """Show a progress bar that is updated in place, and yield its callback.

    The bar stays when the task ends.
    """
    from IPython.display import HTML, display

    handle: Any = display(HTML(escape(title)), display_id=True)
    updated_s = 0.0

    def update(done: int, total: int, note: str = "", /) -> None:
        nonlocal updated_s
        now_s = time.monotonic()
        if now_s - updated_s >= _MIN_UPDATE_S or done == total:
            updated_s = now_s
            handle.update(HTML(format_html_bar(title, done, total, note)))

    yield update


def format_html_bar(title: str, done: int, total: int, note: str = "") -> str:
    """Return the HTML of a progress bar, such as `extract ▬▬▬ 12 of 24`."""
    text = f"{done} of {total}  {note}".rstrip()
    bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
    return f"{escape(title)} {bar} {escape(text)}"
