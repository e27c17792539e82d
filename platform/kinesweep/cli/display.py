"""A display at the foot of the terminal while a sweep runs: trials by state, best, time left.

It reads the sweep's journal, so the process that drives the sweep shows the same as one that only
follows its job. Lines that are printed meanwhile stand above it. Where stderr is no terminal there
is no display: the lines say all of it.
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

from kinesweep.cli.output import console
from kinesweep.core.errors import CheckpointError
from kinesweep.core.scores import format_scores
from kinesweep.sweeps.journal import JOURNAL, read_journal
from kinesweep.sweeps.progress import Progress, progress_of

_REFRESH_HZ = 2.0
_BAR = 24
_STYLES = {"running": "cyan", "finished": "green", "pruned": "yellow", "failed": "red"}


@contextmanager
def sweep_display(folder: Path, since: float | None = None) -> Iterator[None]:
    """Show a sweep's progress at the foot of the terminal; nothing where stderr is none.

    Args:
        folder: of the sweep; it may come into being later.
        since: seconds of the epoch; a driver that began before them is an earlier one.
    """
    if not console.is_terminal:
        yield
        return
    # Times in a journal are rounded.
    shown = SweepDisplay(folder, time.time() - 1 if since is None else since)
    # Redirected, so that a line that somebody else prints does not tear the display.
    with Live(shown, console=console, refresh_per_second=_REFRESH_HZ, transient=True):
        yield


class SweepDisplay:
    """What the display shows, as rich draws it; empty before the driver begins and after it ranks.

    Args:
        folder: of the sweep.
        since: seconds of the epoch; see `sweep_display`.
        clock: the time now; replaced in tests.
    """

    def __init__(self, folder: Path, since: float, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._since, self._clock = folder, since, clock
        self._size = 0
        self._events: Sequence[Mapping[str, Any]] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich's protocol."""
        now = self._clock()
        progress = self._progress(now)
        if progress is not None and progress.began >= self._since and progress.stage != "done":
            yield Group(_counts(progress), _summary(progress, now))

    def _progress(self, now: float) -> Progress | None:
        """Read the journal again where it has grown; None where there is none to be read."""
        try:
            size = (self._folder / JOURNAL).stat().st_size
            if size != self._size:
                self._events, self._size = read_journal(self._folder), size
            return progress_of(self._events, now)
        # A display must not end the sweep; who needs the journal says what is wrong with it.
        except (OSError, CheckpointError, json.JSONDecodeError):
            return None


def _counts(progress: Progress) -> Table:
    """Return a line for the search, and one for the finals once they have begun."""
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        # A line more than rich counted would be left behind at every refresh.
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
    """Return the line below: the best so far, the time that has passed, the time that is left."""
    parts = []
    if progress.best is not None:
        best = format_scores(progress.best.scores, list(progress.best.scores))
        parts.append(f"best {best} (trial {progress.best.trial})")
    parts.append(f"{_clock_time(now - progress.began)} passed")
    if progress.left_s is not None:
        parts.append(f"about {_clock_time(progress.left_s)} left of the {progress.stage}")
    return Text("   ".join(parts), no_wrap=True, overflow="ellipsis")


def _bar(done: int, of: int | None) -> ProgressBar | Text:
    return ProgressBar(of, min(done, of), width=_BAR) if of else Text()


def _of(done: int, of: int | None, what: str) -> str:
    return f"{done} {what}" if of is None else f"{done} of {of} {what}"


def _states(counts: Mapping[str, int], states: Sequence[str]) -> Text:
    """Return the states in which there is somebody, each in its colour."""
    told = [Text(f"{counts[s]} {s}", _STYLES[s]) for s in states if counts.get(s)]
    return Text(" · ").join(told)


def _clock_time(seconds: float) -> str:
    """Return `4:05`, or `1:04:05` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
