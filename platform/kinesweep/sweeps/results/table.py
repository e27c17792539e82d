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
from kinesweep.core.hashing import flatten_mapping
from kinesweep.sweeps.journal.journal import RESULT, Trial, build_trials, read_journal
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name
from kinesweep.sweeps.journal.sweep_metadata import (
    SweepMetadata,
    read_sweep_metadata,
    read_sweep_outcome,
)
from kinesweep.sweeps.results.ranking import RankedConfiguration
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.sweeps.search.finals import sort_trials
from kinesweep.sweeps.space.arms import get_fixed_values
from kinesweep.training.run_records.result import read_run_result

TableStyle = Literal["tsv", "markdown", "latex"]
_TABULATE_FORMATS = {"tsv": "tsv", "markdown": "github", "latex": "latex_booktabs"}


@dataclass(frozen=True)
class SweepTableRow:
    """One configuration in the table of a sweep.

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
class SweepTable:
    """The table of a sweep.

    Attributes:
        metric: Deciding objective.
        parameters: Swept parameters in the order of the space.
        rows: Configurations, finalists first.
    """

    metric: str
    parameters: tuple[str, ...]
    rows: tuple[SweepTableRow, ...]

    def render(self, style: TableStyle) -> str:
        """Return the table as text in one of the styles `tsv`, `markdown` and `latex`."""
        headings = ["rank", "configuration", "state", *self.parameters, f"{self.metric} validation"]
        headings += ["seeds", "epochs", f"{self.metric} test"]
        lines = [self._format_cells(row) for row in self.rows]
        return tabulate(lines, headings, tablefmt=_TABULATE_FORMATS[style], disable_numparse=True)

    def _format_cells(self, row: SweepTableRow) -> list[str]:
        """Format the cells of a row in the order of the headings."""
        values = [_format_value(row.values.get(name)) for name in self.parameters]
        error = "" if row.error is None else f" ± {row.error:.2f}"
        score = "" if row.score is None else f"{row.score:.2f}{error}"
        rank, seeds = str(row.rank or ""), str(row.seeds or "")
        numbers = ["" if x is None else f"{x:.2f}" for x in (row.epochs, row.test)]
        return [rank, row.name, row.state, *values, score, seeds, *numbers]


def build_sweep_table(folder: Path) -> SweepTable:
    """Build the table of a sweep, finished or not.

    Raises:
        CheckpointError: If the folder holds no sweep, or a damaged one.
    """
    record, events = read_sweep_metadata(folder), read_journal(folder)
    trials = {f"trial {t.number}": t for t in build_trials(events)}
    outcome = read_sweep_outcome(folder) if (folder / RESULT).is_file() else None
    runs: dict[str, list[str]] = {}
    for event in events:
        if event["event"] == "run_finished":
            runs.setdefault(event["finalist"], []).append(event["run"])
    rows = []
    # Ranks come from `result.json`, which a running sweep does not have yet.
    if outcome is not None:
        rows = [
            _build_finalist_row(
                folder, record, outcome, place, trials.get(line.name), runs[line.name]
            )
            for place, line in enumerate(outcome.ranking)
        ]
    ranked = {row.name for row in rows}
    remaining_trials = [
        t for name, t in trials.items() if name not in ranked and t.duplicate_of is None
    ]
    # `sort_trials` falls back on unfinished trials; these are listed after the finished ones.
    finished = [t for t in sort_trials(record.space, remaining_trials) if t.state == "finished"]
    remaining_trials = [*finished, *(t for t in remaining_trials if t.state != "finished")]
    metric = record.space.objectives[0].name
    rows += [_build_trial_row(folder, record, metric, trial) for trial in remaining_trials]
    return SweepTable(metric, tuple(record.space.searched_parameters), tuple(rows))


def _build_finalist_row(
    folder: Path,
    record: SweepMetadata,
    outcome: SweepOutcome,
    index: int,
    trial: Trial | None,
    runs: Sequence[str],
) -> SweepTableRow:
    """Build the row of a finalist."""
    line: RankedConfiguration = outcome.ranking[index]
    base = {
        **flatten_mapping(record.recipe.model_dump(mode="json")),
        **get_fixed_values(record.space),
    }
    # The untuned recipe is no trial; its values are those of the recipe itself.
    parameter_values = trial.values if trial is not None else base
    # Test is scored for the winner alone.
    test_scores = outcome.test if line.name == outcome.winner else {}
    test = [scores[outcome.metric] for scores in test_scores.values() if outcome.metric in scores]
    return SweepTableRow(
        rank=index + 1,
        name=line.name,
        state="finals",
        values={name: parameter_values.get(name) for name in record.space.searched_parameters},
        score=line.mean,
        error=(line.high - line.low) / 2,
        seeds=len(line.scores),
        epochs=_compute_mean_epochs(folder, runs),
        test=fmean(test) if test else None,
    )


def _build_trial_row(
    folder: Path, record: SweepMetadata, metric: str, trial: Trial
) -> SweepTableRow:
    """Build the row of a trial that is not a finalist."""
    run = format_run_name(trial.config_hash, record.space.search.seed)
    return SweepTableRow(
        rank=None,
        name=f"trial {trial.number}",
        state=trial.state,
        values=trial.values,
        score=trial.scores.get(metric),
        error=None,
        seeds=0,
        epochs=_compute_mean_epochs(folder, [run]),
        test=None,
    )


def _compute_mean_epochs(folder: Path, runs: Sequence[str]) -> float | None:
    """Return the mean epochs of all runs with a result; damaged results are ignored."""
    epochs = []
    for run in runs:
        try:
            result = read_run_result(folder / RUNS / run)
        except CheckpointError:
            continue
        if result is not None and result.epochs is not None:
            epochs.append(result.epochs)
    return fmean(epochs) if epochs else None


def _format_value(value: Any) -> str:
    """Format a value in few characters."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
