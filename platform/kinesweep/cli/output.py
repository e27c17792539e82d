"""How verbs speak: plain text for people, one JSON line for programs, exit codes for shells.

Code 0 means success, 2 bad input, 1 anything else that was foreseen (a full disk), 130 an
interrupt. Bad input never shows a traceback; a defect of ours keeps its own.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ParamSpec, Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kinesweep.core.errors import KinesweepError

P = ParamSpec("P")
R = TypeVar("R")

_LOG_WIDTH = None if sys.stderr.isatty() or "COLUMNS" in os.environ else 120
"""A job's log is no terminal; rich would squeeze tables into 80 columns."""
console = Console(stderr=True, soft_wrap=True, highlight=False, width=_LOG_WIDTH)
"""For people: progress, tables, warnings. On stderr, so that stdout carries results alone."""

JsonOption = Annotated[
    bool, typer.Option("--json", help="End with one line of JSON on stdout, for programs.")
]


class Update(Protocol):
    """Moves a bar: what is done, what there is in all, what is worth saying beside it."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Told of progress."""


DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Every stage on a few clips, in a place of its own.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides such as training.learning_rate=1e-4", show_default=False),
]


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Turns foreseen errors of a verb into a message and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt:
            console.print("Interrupted. What was finished is kept; the same command goes on.")
            raise typer.Exit(130) from None
        except Exception as error:
            message, code = _explained(error)
            if message is None:
                raise
            console.print(message, markup=False, style="red")
            raise typer.Exit(code) from None

    # A backspace of its own keeps a paragraph of help from being wrapped: examples are pasted.
    wrapped.__doc__ = (function.__doc__ or "").replace("Example:", "\b\n    Example:")
    return wrapped


def _explained(error: BaseException) -> tuple[str | None, int]:
    """The text and exit code of a foreseen error; None for a defect."""
    seen: BaseException | None = error
    while seen is not None:
        # Ray wraps what a worker raised and keeps the original as `cause`.
        cause = getattr(seen, "cause", None)
        original = cause if isinstance(cause, BaseException) else seen
        if isinstance(original, KinesweepError):
            return f"{type(original).__name__}: {original}", 2
        if isinstance(original, OSError):
            return f"{type(original).__name__}: {original}", 1
        seen = original.__cause__ or seen.__cause__
    return None, 1


def emit(result: Mapping[str, Any], as_json: bool) -> None:
    """The last line on stdout, for programs."""
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()


def say(text: str) -> None:
    """One line for people."""
    console.print(text, markup=False)


@contextmanager
def progress(what: str) -> Iterator[Update]:
    """A bar on a terminal, a line at each tenth elsewhere. Yields `update(done, total, note)`."""
    if console.is_terminal:
        told = TextColumn("{task.fields[note]}", markup=False)
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), told)
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=None, note="")

            def move(done: int, total: int, note: str = "", /) -> None:
                bar.update(task, completed=done, total=total, note=note)

            yield move
        return
    shown = -1

    def update(done: int, total: int, note: str = "", /) -> None:
        nonlocal shown
        tenth = 10 * done // max(total, 1)
        if tenth > shown:
            shown = tenth
            say(f"{what}: {done} of {total}{note and f'  {note}'}")

    yield update
