"""All configurations of a sweep in one table, for a paper or a spreadsheet.

Finalists come first, ranked on validation, followed by all other trials. Test scores are shown only
where they were computed, and nothing is sorted by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from tabulate import tabulate

from kinesweep.core.errors import CheckpointError
from kinesweep.core.hashing import flatten
from kinesweep.sweeps.journal.journal import RESULT, Trial, read_journal, read_trials
from kinesweep.sweeps.journal.run_folders import RUNS, run_name
from kinesweep.sweeps.journal.sweep_metadata import Record, read_outcome, read_record
from kinesweep.sweeps.results.ranking import Rank
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.sweeps.search.finals import best_trials
from kinesweep.sweeps.space.arms import fixed_values
from kinesweep.training.run_records.result import read_result

Style = Literal["tsv", "markdown", "latex"]
_FORMATS = {"tsv": "tsv", "markdown": "github", "latex": "latex_booktabs"}


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        rank: Rank in the finals, from 1; None for other trials.
        name: `trial 3` or `untuned`.
        state: State of the trial, or `finals`.
        values: Swept parameter → value.
        score: Validation score: mean over seeds in the finals, else of the single run.
        error: Half of the 95 % interval of the mean; None outside the finals.
        seeds: Number of runs in the finals.
        epochs: Passes over the training clips when training stopped, mean over runs.
        test: Mean test score over seeds; None if test was not scored.
    """

    rank: int | None
    name: str
    state: str
    values: Mapping[str, Any]
    score: float | None
    error: float | None
    seeds: int
    epochs: float | None
    test: float | None


@dataclass(frozen=True)
class Summary:
    """The table of a sweep.

    Attributes:
        metric: Deciding objective.
        parameters: Swept parameters in the order of the space.
        rows: Configurations, finalists first.
    """

    metric: str
    parameters: tuple[str, ...]
    rows: tuple[Row, ...]

    def render(self, style: Style) -> str:
        """Format the table in a style."""
        headings = ["rank", "configuration", "state", *self.parameters, f"{self.metric} validation"]
        headings += ["seeds", "epochs", f"{self.metric} test"]
        lines = [self._cells(row) for row in self.rows]
        return tabulate(lines, headings, tablefmt=_FORMATS[style], disable_numparse=True)

    def _cells(self, row: Row) -> list[str]:
        """Format the cells of a row in the order of the headings."""
        values = [_plain(row.values.get(name)) for name in self.parameters]
        error = "" if row.error is None else f" ± {row.error:.2f}"
        score = "" if row.score is None else f"{row.score:.2f}{error}"
        rank, seeds = str(row.rank or ""), str(row.seeds or "")
        shown = ["" if x is None else f"{x:.2f}" for x in (row.epochs, row.test)]
        return [rank, row.name, row.state, *values, score, seeds, *shown]


def summarise(folder: Path) -> Summary:
    """Build the table of a sweep, finished or not.

    Raises:
        CheckpointError: If the folder holds no sweep, or a damaged one.
    """
    record, events = read_record(folder), read_journal(folder)
    trials = {f"trial {t.number}": t for t in read_trials(events)}
    outcome = read_outcome(folder) if (folder / RESULT).is_file() else None
    runs: dict[str, list[str]] = {}
    for event in events:
        if event["event"] == "run_finished":
            runs.setdefault(event["finalist"], []).append(event["run"])
    rows = []
    # Ranks come from `result.json`, which a running sweep does not have yet.
    if outcome is not None:
        rows = [
            _final(folder, record, outcome, place, trials.get(line.name), runs[line.name])
            for place, line in enumerate(outcome.ranking)
        ]
    ranked = {row.name for row in rows}
    rest = [t for name, t in trials.items() if name not in ranked and t.duplicate_of is None]
    # `best_trials` falls back on unfinished trials; these are listed after the finished ones.
    finished = [t for t in best_trials(record.space, rest) if t.state == "finished"]
    rest = [*finished, *(t for t in rest if t.state != "finished")]
    metric = record.space.objectives[0].name
    rows += [_searched(folder, record, metric, trial) for trial in rest]
    return Summary(metric, tuple(record.space.searched), tuple(rows))


def _final(
    folder: Path,
    record: Record,
    outcome: SweepOutcome,
    place: int,
    trial: Trial | None,
    runs: Sequence[str],
) -> Row:
    """Build the row of a finalist."""
    line: Rank = outcome.ranking[place]
    base = {**flatten(record.recipe.model_dump(mode="json")), **fixed_values(record.space)}
    # The untuned recipe is no trial; its values are those of the recipe itself.
    own = trial.values if trial is not None else base
    # Test is scored for the winner alone.
    tested = outcome.test if line.name == outcome.winner else {}
    test = [scores[outcome.metric] for scores in tested.values() if outcome.metric in scores]
    return Row(
        rank=place + 1,
        name=line.name,
        state="finals",
        values={name: own.get(name) for name in record.space.searched},
        score=line.mean,
        error=(line.high - line.low) / 2,
        seeds=len(line.scores),
        epochs=_epochs(folder, runs),
        test=fmean(test) if test else None,
    )


def _searched(folder: Path, record: Record, metric: str, trial: Trial) -> Row:
    """Build the row of a trial that is not a finalist."""
    run = run_name(trial.config, record.space.search.seed)
    return Row(
        rank=None,
        name=f"trial {trial.number}",
        state=trial.state,
        values=trial.values,
        score=trial.scores.get(metric),
        error=None,
        seeds=0,
        epochs=_epochs(folder, [run]),
        test=None,
    )


def _epochs(folder: Path, runs: Sequence[str]) -> float | None:
    """Return the mean epochs of all runs with a result; damaged results are ignored."""
    found = []
    for run in runs:
        try:
            result = read_result(folder / RUNS / run)
        except CheckpointError:
            continue
        if result is not None and result.epochs is not None:
            found.append(result.epochs)
    return fmean(found) if found else None


def _plain(value: Any) -> str:
    """Format a value in few characters."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
