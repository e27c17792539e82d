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
from kinesweep.sweeps.journal.progress import SweepProgress, compute_progress

_REFRESH_HZ = 2.0
_BAR_WIDTH = 24
_STYLES = {"running": "cyan", "finished": "green", "pruned": "yellow", "failed": "red"}


@contextmanager
def show_sweep_display(
    console: Console, folder: Path, since: float | None = None
) -> Iterator[None]:
    """Show a sweep's progress at the bottom of the terminal within the `with` block.

    Nothing is shown if the console is not a terminal.

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
    display = SweepDisplay(folder, time.time() - 1 if since is None else since)
    # Live redirects stdout and stderr, so lines printed by other code do not break the display.
    # `transient`: the display disappears at the end.
    with Live(display, console=console, refresh_per_second=_REFRESH_HZ, transient=True):
        yield


class SweepDisplay:
    """A rich renderable of a sweep's progress; empty before the sweep starts and after its ranking.

    Args:
        folder: Sweep folder.
        since: Unix time in seconds; see `show_sweep_display`.
        clock: Function that returns the current Unix time; replaced in tests.
    """

    def __init__(self, folder: Path, since: float, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._since, self._clock = folder, since, clock
        self._size = 0
        self._events: Sequence[Mapping[str, Any]] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the two or three lines of the display."""
        now = self._clock()
        progress = self._read_progress(now)
        if (
            progress is not None
            and progress.session_start >= self._since
            and progress.stage != "done"
        ):
            yield Group(_build_counts_table(progress), _format_summary(progress, now))

    def _read_progress(self, now: float) -> SweepProgress | None:
        """Read the progress from the journal; return None if the journal cannot be read.

        Args:
            now: Unix time in seconds, for which the remaining time is estimated.
        """
        try:
            size = (self._folder / JOURNAL).stat().st_size
            # A journal is append-only, so an equal size means that there are no new events.
            if size != self._size:
                self._events, self._size = read_journal(self._folder), size
            return compute_progress(self._events, now)
        # A display must not end the sweep; the code that depends on the journal reports its errors.
        except (OSError, CheckpointError, json.JSONDecodeError):
            return None


def _build_counts_table(progress: SweepProgress) -> Table:
    """Build a table with a line for the search and, once they have started, one for the finals."""
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        # Rich erases as many lines as it counted; a wrapped line would remain at every refresh.
        table.add_column(no_wrap=True)
    num_finished = sum(progress.trials.values()) - progress.trials.get("running", 0)
    table.add_row(
        *("search", _make_progress_bar(num_finished, progress.num_planned_trials)),
        _format_count(num_finished, progress.num_planned_trials, "trials"),
        _format_states(progress.trials, ("running", "finished", "pruned", "failed")),
    )
    if progress.num_planned_runs is not None:
        num_ended = progress.runs.get("finished", 0) + progress.runs.get("failed", 0)
        table.add_row(
            *("finals", _make_progress_bar(num_ended, progress.num_planned_runs)),
            _format_count(num_ended, progress.num_planned_runs, "runs"),
            _format_states(progress.runs, ("running", "finished", "failed")),
        )
    return table


def _format_summary(progress: SweepProgress, now: float) -> Text:
    """Format the summary line: best trial, elapsed time, estimated remaining time."""
    parts = []
    if progress.best is not None:
        best = format_scores(progress.best.scores, list(progress.best.scores))
        parts.append(f"best {best} (trial {progress.best.trial})")
    parts.append(f"{_format_duration(now - progress.session_start)} elapsed")
    if progress.remaining_s is not None:
        parts.append(f"about {_format_duration(progress.remaining_s)} left of the {progress.stage}")
    return Text("   ".join(parts), no_wrap=True, overflow="ellipsis")


def _make_progress_bar(done: int, total: int | None) -> ProgressBar | Text:
    """Make a progress bar; return an empty text if the total is unknown or 0."""
    return ProgressBar(total, min(done, total), width=_BAR_WIDTH) if total else Text()


def _format_count(done: int, total: int | None, unit: str) -> str:
    """Format a count as `3 of 10 trials`, or as `3 trials` if the total is unknown."""
    return f"{done} {unit}" if total is None else f"{done} of {total} {unit}"


def _format_states(counts: Mapping[str, int], states: Sequence[str]) -> Text:
    """Format the non-zero counts by state, each in the color of its state."""
    parts = [Text(f"{counts[s]} {s}", _STYLES[s]) for s in states if counts.get(s)]
    return Text(" · ").join(parts)


def _format_duration(seconds: float) -> str:
    """Format a duration as `4:05`, or as `1:04:05` from one hour on."""
    minutes, remaining_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{remaining_s:02}" if hours else f"{minutes}:{remaining_s:02}"
