"""A progress display at the bottom of the terminal: trials by state, best trial, time left.

It reads the sweep's journal, so the driver's process and a process that only follows the driver's
job show the same. Lines that are printed meanwhile appear above it. If stderr is not a terminal,
there is no display; the printed lines contain the same information.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kinesweep.core.errors import CheckpointError
from kinesweep.core.scores import format_scores
from kinesweep.sweeps.journal.journal import JOURNAL, read_journal
from kinesweep.sweeps.journal.progress import Progress, progress_of

_REFRESH_HZ = 2.0
_BAR = 24
_STYLES = {"running": "cyan", "finished": "green", "pruned": "yellow", "failed": "red"}


@contextmanager
def sweep_display(console: Console, folder: Path, since: float | None = None) -> Iterator[None]:
    """Show a sweep's progress at the bottom of the terminal, if the console is a terminal.

    Args:
        console: Console on which all other lines are printed meanwhile.
        folder: Sweep folder; it may be created later.
        since: Unix time in seconds; sessions of the driver that started earlier are not shown.
            None: now.
    """
    if not console.is_terminal:
        yield
        return
    # One second of slack, because times in a journal are rounded.
    shown = SweepDisplay(folder, time.time() - 1 if since is None else since)
    # Live redirects stdout and stderr, so lines printed by other code do not break the display.
    # `transient`: the display disappears at the end.
    with Live(shown, console=console, refresh_per_second=_REFRESH_HZ, transient=True):
        yield


class SweepDisplay:
    """A rich renderable of a sweep's progress; empty before the driver starts and once it ranked.

    Args:
        folder: Sweep folder.
        since: Unix time in seconds; see `sweep_display`.
        clock: Function that returns the current Unix time; replaced in tests.
    """

    def __init__(self, folder: Path, since: float, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._since, self._clock = folder, since, clock
        self._size = 0
        self._events: Sequence[Mapping[str, Any]] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the two or three lines of the display."""
        now = self._clock()
        progress = self._progress(now)
        if progress is not None and progress.began >= self._since and progress.stage != "done":
            yield Group(_counts(progress), _summary(progress, now))

    def _progress(self, now: float) -> Progress | None:
        """Return the progress according to the journal, or None if it cannot be read."""
        try:
            size = (self._folder / JOURNAL).stat().st_size
            # A journal is append-only, so an equal size means that there are no new events.
            if size != self._size:
                self._events, self._size = read_journal(self._folder), size
            return progress_of(self._events, now)
        # A display must not end the sweep; the code that depends on the journal reports its errors.
        except (OSError, CheckpointError, json.JSONDecodeError):
            return None


def _counts(progress: Progress) -> Table:
    """Return one line for the search and, once the finals have started, one for the finals."""
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        # Rich erases as many lines as it counted; a wrapped line would remain at every refresh.
        table.add_column(no_wrap=True)
    done = sum(progress.trials.values()) - progress.trials.get("running", 0)
    table.add_row(
        *("search", _bar(done, progress.trials_wanted)),
        _of(done, progress.trials_wanted, "trials"),
        _states(progress.trials, ("running", "finished", "pruned", "failed")),
    )
    if progress.runs_wanted is not None:
        ended = progress.runs.get("finished", 0) + progress.runs.get("failed", 0)
        table.add_row(
            *("finals", _bar(ended, progress.runs_wanted)),
            _of(ended, progress.runs_wanted, "runs"),
            _states(progress.runs, ("running", "finished", "failed")),
        )
    return table


def _summary(progress: Progress, now: float) -> Text:
    """Return the summary line: best trial so far, elapsed time, estimated time left."""
    parts = []
    if progress.best is not None:
        best = format_scores(progress.best.scores, list(progress.best.scores))
        parts.append(f"best {best} (trial {progress.best.trial})")
    parts.append(f"{_clock_time(now - progress.began)} elapsed")
    if progress.left_s is not None:
        parts.append(f"about {_clock_time(progress.left_s)} left of the {progress.stage}")
    return Text("   ".join(parts), no_wrap=True, overflow="ellipsis")


def _bar(done: int, of: int | None) -> ProgressBar | Text:
    """Return a progress bar, or an empty text if the total is unknown or 0."""
    return ProgressBar(of, min(done, of), width=_BAR) if of else Text()


def _of(done: int, of: int | None, what: str) -> str:
    """Return `3 of 10 trials`, or `3 trials` if the total is unknown."""
    return f"{done} {what}" if of is None else f"{done} of {of} {what}"


def _states(counts: Mapping[str, int], states: Sequence[str]) -> Text:
    """Return the non-zero counts by state, each in the colour of its state."""
    told = [Text(f"{counts[s]} {s}", _STYLES[s]) for s in states if counts.get(s)]
    return Text(" · ").join(told)


def _clock_time(seconds: float) -> str:
    """Format a duration as `4:05`, or as `1:04:05` from one hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
