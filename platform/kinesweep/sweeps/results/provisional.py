"""Provisional rankings of an unfinished sweep, kept in `provisional.json`.

A ranking is published each time the number of ended trials doubles, after the search, and after
each seed on which all finalists were trained; `result.json` replaces the last one. `rounds`
computes the rankings. Reading one does not import PyTorch.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kinesweep.core.io import read_json, write_json
from kinesweep.sweeps.journal.journal import Trial
from kinesweep.sweeps.space.parameter import Values, format_values

PROVISIONAL_FILE = "provisional.json"
_MAX_PRINTED = 5
"""Number of configurations printed; the file holds all of them."""


@dataclass(frozen=True)
class ProvisionalRank:
    """One configuration of a provisional ranking; its fields are keys of `provisional.json`.

    Attributes:
        name: Display name, such as `trial 7` or `untuned`.
        values: Swept parameters.
        score: Mean over the seeds in `scores`.
        scores: Seed → validation score.
        low: Lower end of the mean's 95 % interval; None with a single seed.
        high: Upper end of that interval; None with a single seed.
        gap_to_best: Difference between the best mean and this one; None if it was not tested.
        p_value: p-value of that difference, corrected for the number of configurations; None if it
            was not tested.
        tied: Whether the difference is not significant; None if it was not tested.
    """

    name: str
    values: Values
    score: float
    scores: dict[int, float]
    low: float | None = None
    high: float | None = None
    gap_to_best: float | None = None
    p_value: float | None = None
    tied: bool | None = None

    def format_line(self, position: int) -> str:
        """Format the configuration as one line of text.

        Args:
            position: Position in the ranking, from 1.
        """
        text = f"  {position}. {self.name}  {self.score:.2f}"
        if self.low is not None and self.high is not None:
            text += f" [{self.low:.1f}, {self.high:.1f}]"
        if self.gap_to_best is not None and self.p_value is not None:
            verdict = "not significant" if self.tied else "significant"
            text += f", {self.gap_to_best:.2f} behind, {verdict} (p = {self.p_value:.2g})"
        settings = format_values(self.values)
        return f"{text}  {settings}" if settings else text


@dataclass(frozen=True)
class ProvisionalRanking:
    """A ranking before the end of a sweep; its fields are the keys of `provisional.json`.

    Attributes:
        stage: `searching`: scores of the trials so far; `searched`: scores of all trials;
            `finals`: scores on new seeds.
        after: Part of the sweep that was complete, such as `2 of 6 trials`, `the search` or `1 of 3
            seeds`.
        metric: Deciding objective.
        rounds: Number of final seeds on which every finalist was trained; 0 during the search.
        of: Number of final seeds, the maximum of `rounds`.
        trials: Number of ended trials in the journal, without duplicates.
        standings: Configurations from best to worst.
        note: Limitations of the ranking.
    """

    stage: Literal["searching", "searched", "finals"]
    after: str
    metric: str
    rounds: int
    of: int
    trials: int
    standings: tuple[ProvisionalRank, ...]
    note: str

    def format_lines(self) -> list[str]:
        """Format the ranking as lines of text: heading, best configurations and note."""
        heading = f"Provisional ranking after {self.after} (validation {self.metric}):"
        rank_lines = [
            rank.format_line(position)
            for position, rank in enumerate(self.standings[:_MAX_PRINTED], start=1)
        ]
        num_omitted = len(self.standings) - len(rank_lines)
        omitted_note = [f"  … and {num_omitted} more in {PROVISIONAL_FILE}"] if num_omitted else []
        return [heading, *rank_lines, *omitted_note, f"  {self.note}"]


def count_ended_trials(trials: Sequence[Trial]) -> int:
    """Return the number of trials that have ended, without duplicates of other trials."""
    return sum(trial.duplicate_of is None and trial.state != "running" for trial in trials)


def has_running_trial(trials: Sequence[Trial]) -> bool:
    """Return whether a trial is running; duplicates, for which no run is started, are ignored."""
    return any(trial.duplicate_of is None and trial.state == "running" for trial in trials)


def is_ranking_outdated(ranking: ProvisionalRanking, trials: Sequence[Trial]) -> bool:
    """Return whether a ranking lacks trials that were started after it.

    A ranking of stage `searching` always lacks the latest trials and states their number, so it is
    never outdated.

    Args:
        ranking: Provisional ranking.
        trials: All trials of the journal.
    """
    if ranking.stage == "searching":
        return False
    return has_running_trial(trials) or ranking.trials != count_ended_trials(trials)


def write_provisional_ranking(folder: Path, ranking: ProvisionalRanking) -> None:
    """Write a ranking to `provisional.json` in a sweep's folder, atomically."""
    write_json(folder / PROVISIONAL_FILE, asdict(ranking))


def publish_ranking(
    folder: Path, ranking: ProvisionalRanking | None, on_message: Callable[[str], None]
) -> None:
    """Write a ranking to `provisional.json`, and report it if its stage or its ranks are new.

    Equal ranks occur if only pruned trials have ended since the previous ranking.

    Args:
        folder: Folder of the sweep.
        ranking: Ranking; None if there is nothing to rank, in which case nothing is written.
        on_message: Function that receives the ranking, one line each.

    Raises:
        ValueError: If an existing file does not contain JSON.
    """
    # Compared with the file, not with memory: a resumed sweep does not print a ranking twice.
    previous = read_provisional_ranking(folder)
    if ranking is None or ranking == previous:
        return
    # The file is always replaced: its number of trials and its note may have changed.
    write_provisional_ranking(folder, ranking)
    if previous is not None and (previous.stage, previous.standings) == (
        ranking.stage,
        ranking.standings,
    ):
        return
    for line in ranking.format_lines():
        on_message(line)


def read_provisional_ranking(folder: Path) -> ProvisionalRanking | None:
    """Read the ranking in `provisional.json`, or return None if there is no such file.

    Raises:
        ValueError: If the file does not contain JSON.
    """
    path = folder / PROVISIONAL_FILE
    if not path.is_file():
        return None
    fields: dict[str, Any] = read_json(path)
    # JSON keys are strings, seeds are integers.
    ranks = tuple(
        ProvisionalRank(
            **{**entry, "scores": {int(seed): score for seed, score in entry["scores"].items()}}
        )
        for entry in fields["standings"]
    )
    return ProvisionalRanking(**{**fields, "standings": ranks})


def remove_provisional_ranking(folder: Path) -> None:
    """Remove `provisional.json` from a sweep's folder, if it exists."""
    (folder / PROVISIONAL_FILE).unlink(missing_ok=True)
