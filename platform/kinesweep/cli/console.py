"""Output of the commands: text for people, one JSON line for programs, exit codes for shells.

Exit code 0 means success, 2 invalid input, 1 another expected error (a run that failed, a full disk
or exhausted memory), and 130 an interrupt. Invalid input never shows a traceback; a bug in
Kinesweep does.
"""

import functools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kinesweep.core.errors import KinesweepError, TrainingError
from kinesweep.pipelines.progress import LogDisplay, ProgressCallback, install_display
from kinesweep.training.run_records.run_failure import is_memory_error, make_memory_error

P = ParamSpec("P")
R = TypeVar("R")

# If stderr is not a terminal (a job's log), rich would squeeze tables into 80 columns.
_LOG_WIDTH = None if sys.stderr.isatty() or "COLUMNS" in os.environ else 120
# All control characters but tabs and line breaks: messages quote names of files and values of
# others, which could otherwise move the cursor or repaint what a terminal shows.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Progress, tables and warnings go to stderr, so that stdout contains results only.
console = Console(stderr=True, soft_wrap=True, highlight=False, width=_LOG_WIDTH)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one line of JSON on stdout at the end.")
]


DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Run every stage on a few clips in a separate folder."),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides, such as training.learning_rate=1e-4.", show_default=False),
]


def wrap_command(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that it shows progress and turns expected errors into an exit code.

    The message of an error, or of an interrupt, is printed on stderr. A bug keeps its traceback.
    The wrapped command also has its examples marked so that Click does not wrap them.
    """

    @functools.wraps(function)
    def run_wrapped_command(*args: P.args, **kwargs: P.kwargs) -> R:
        show_console_progress()
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt:
            console.print("Interrupted. Finished work is kept; run the same command to continue.")
            raise typer.Exit(130) from None
        except Exception as error:
            message, code = _format_error(error)
            if message is None:
                raise
            # Messages quote user input, which may contain rich's markup characters.
            console.print(_escape_control_characters(message), markup=False, style="red")
            raise typer.Exit(code) from None

    # Click does not rewrap a paragraph that starts with \b, so examples stay one line to paste.
    run_wrapped_command.__doc__ = (function.__doc__ or "").replace("Example:", "\b\n    Example:")
    return run_wrapped_command


def _format_error(error: BaseException) -> tuple[str | None, int]:
    """Format an expected error as a message with an exit code; return no message for a bug.

    The chain of causes is searched, because Ray wraps errors that cross process boundaries.
    """
    current_error: BaseException | None = error
    while current_error is not None:
        # Ray wraps the exception of a worker and keeps the original in `cause`.
        cause = getattr(current_error, "cause", None)
        original = cause if isinstance(cause, BaseException) else current_error
        if isinstance(original, KinesweepError):
            code = 1 if isinstance(original, TrainingError) else 2
            return f"{type(original).__name__}: {original}", code
        if isinstance(original, OSError):
            return f"{type(original).__name__}: {original}", 1
        if isinstance(original, Exception) and is_memory_error(original):
            return f"ResourceError: {make_memory_error(original)}", 1
        current_error = original.__cause__ or current_error.__cause__
    return None, 1


def print_json_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result as one line of JSON on stdout, if requested."""
    if as_json:
        # `default=str` is for paths; every result should otherwise consist of plain values.
        sys.stdout.write(json.dumps(result, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()


def print_line(text: str) -> None:
    """Print a text on stderr, followed by a line break."""
    console.print(_escape_control_characters(text), markup=False)


def _escape_control_characters(text: str) -> str:
    r"""Return a text in which control characters are visible, such as `\x1b`."""
    return _CONTROL_CHARACTER.sub(lambda match: repr(match[0])[1:-1], text)


class _ConsoleHandler(logging.Handler):
    """A logging handler that prints messages on the console, without time or level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print_line(record.getMessage())


class TerminalDisplay(LogDisplay):
    """A progress display with bars on a terminal; elsewhere it logs lines."""

    def show_task(self, title: str) -> AbstractContextManager[ProgressCallback]:
        """Return a context that shows a progress bar, or logs a line at each tenth."""
        return _show_terminal_bar(title) if console.is_terminal else super().show_task(title)

    def show_sweep(self, folder: Path, since: float | None) -> AbstractContextManager[None]:
        """Return a context that shows a sweep at the bottom of a terminal; elsewhere, nothing."""
        # Imported here: only sweeps need the journal.
        from kinesweep.cli.display import show_sweep_display

        return show_sweep_display(console, folder, since)


def show_console_progress() -> None:
    """Show the log messages and the progress of pipelines on the console; idempotent."""
    logger = logging.getLogger("kinesweep")
    if not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(_ConsoleHandler(logging.INFO))
        logger.setLevel(logging.INFO)
        install_display(TerminalDisplay())


@contextmanager
def _show_terminal_bar(title: str) -> Iterator[ProgressCallback]:
    """Show a progress bar with the remaining time in the `with` block, and yield its callback."""
    note_column = TextColumn("{task.fields[note]}", markup=False)
    columns = (
        *(TextColumn(title), BarColumn(), MofNCompleteColumn()),
        *(TimeRemainingColumn(), note_column),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, note="")

        def update(done: int, total: int, note: str = "", /) -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update
