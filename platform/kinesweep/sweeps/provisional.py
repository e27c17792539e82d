"""What a sweep can say before its end: a provisional ranking, kept in `provisional.json`.

There is one each time the number of ended trials doubles, one after the search, and one after each
seed that all finalists were trained on; `result.json` replaces the last of them. `rounds` computes
them; reading one needs no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kinesweep.sweeps.journal import Trial
from kinesweep.sweeps.parameter import Values, shown
from kinesweep.training.files import read_json, write_json

PROVISIONAL = "provisional.json"
_SHOWN = 5
"""Lines shown; the file holds all of them."""


@dataclass(frozen=True)
class Standing:
    """One configuration of a provisional ranking.

    Attributes:
        name: `trial 7` or `untuned`.
        values: swept parameters.
        score: mean over the seeds below.
        scores: seed → score on validation.
        low: lower end of the mean's 95 % interval; None where there is one seed.
        high: upper end of that interval.
        behind: distance from the best one; None where it was not tested.
        p_value: of that distance, corrected for the number of configurations.
        tied: whether that distance is not significant; None where it was not tested.
    """

    name: str
    values: Values
    score: float
    scores: dict[int, float]
    low: float | None = None
    high: float | None = None
    behind: float | None = None
    p_value: float | None = None
    tied: bool | None = None

    def line(self, place: int) -> str:
        """Return the line that people read."""
        text = f"  {place}. {self.name}  {self.score:.2f}"
        if self.low is not None and self.high is not None:
            text += f" [{self.low:.1f}, {self.high:.1f}]"
        if self.behind is not None and self.p_value is not None:
            verdict = "not significant" if self.tied else "significant"
            text += f", {self.behind:.2f} behind, {verdict} (p = {self.p_value:.2g})"
        settings = shown(self.values)
        return f"{text}  {settings}" if settings else text


@dataclass(frozen=True)
class Provisional:
    """A ranking before the end of a sweep.

    Attributes:
        stage: `searching`: scores of the trials so far; `searched`: of all trials; `finals`: of
            fresh seeds.
        after: what was complete: `2 of 6 trials`, `the search` or `1 of 3 seeds`.
        metric: the deciding score.
        rounds: seeds of the finals that every finalist was trained on; 0 after the search.
        of: seeds that the finals hold.
        trials: ended trials in the journal, twins left out.
        standings: the best first.
        note: what the ranking does not say.
    """

    stage: Literal["searching", "searched", "finals"]
    after: str
    metric: str
    rounds: int
    of: int
    trials: int
    standings: tuple[Standing, ...]
    note: str

    def lines(self) -> list[str]:
        """Return the ranking as people read it."""
        head = f"Provisional ranking after {self.after} (validation {self.metric}):"
        shown_lines = [s.line(n) for n, s in enumerate(self.standings[:_SHOWN], start=1)]
        more = len(self.standings) - len(shown_lines)
        rest = [f"  … and {more} more in {PROVISIONAL}"] if more else []
        return [head, *shown_lines, *rest, f"  {self.note}"]


def count_ended(trials: Sequence[Trial]) -> int:
    """Return the number of trials that have ended, twins left out."""
    return sum(trial.twin is None and trial.state != "running" for trial in trials)


def is_running(trials: Sequence[Trial]) -> bool:
    """Return whether a trial has not ended; a twin has no run of its own and is left out."""
    return any(trial.twin is None and trial.state == "running" for trial in trials)


def is_outdated(made: Provisional, trials: Sequence[Trial]) -> bool:
    """Return whether trials of an extended search are missing in the ranking.

    While a search goes on its ranking lacks the latest trials too; it says after how many it was.
    """
    if made.stage == "searching":
        return False
    return is_running(trials) or made.trials != count_ended(trials)


def write_provisional(folder: Path, made: Provisional) -> None:
    """Replace `provisional.json` in one step."""
    write_json(folder / PROVISIONAL, asdict(made))


def publish(folder: Path, made: Provisional | None, say: Callable[[str], None]) -> None:
    """Write a ranking, and tell it unless the one before had the same lines.

    It has where only pruned trials ended in between.
    """
    last = read_provisional(folder)
    if made is None or made == last:
        return
    write_provisional(folder, made)
    if last is not None and (last.stage, last.standings) == (made.stage, made.standings):
        return
    for line in made.lines():
        say(line)


def read_provisional(folder: Path) -> Provisional | None:
    """Read what `write_provisional` wrote; None if there is nothing."""
    path = folder / PROVISIONAL
    if not path.is_file():
        return None
    plain: dict[str, Any] = read_json(path)
    standings = tuple(
        Standing(**{**line, "scores": {int(seed): s for seed, s in line["scores"].items()}})
        for line in plain["standings"]
    )
    return Provisional(**{**plain, "standings": standings})


def drop_provisional(folder: Path) -> None:
    """Remove `provisional.json`, once the result is there."""
    (folder / PROVISIONAL).unlink(missing_ok=True)
