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
from kinesweep.sweeps.journal.journal import RESULT, Trial, build_trials, read_journal
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name
from kinesweep.sweeps.journal.sweep_metadata import read_sweep_metadata
from kinesweep.sweeps.results.outcome_file import read_sweep_outcome
from kinesweep.sweeps.results.ranking import RankedConfiguration
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.search.finals import sort_trials
from kinesweep.sweeps.space.loading import compute_base_values
from kinesweep.sweeps.space.parameter import Values
from kinesweep.training.run_records.result import read_run_result

TableStyle = Literal["tsv", "markdown", "latex"]
_TABULATE_FORMATS = {"tsv": "tsv", "markdown": "github", "latex": "latex_booktabs"}


@dataclass(frozen=True)
class SweepTableRow:
    """One configuration in the table of a sweep.

    Attributes:
        rank: Rank in the finals, from 1; None for other trials.
        name: Display name, such as `trial 3` or `untuned`.
        state: State of the trial, or `finals`.
        values: Swept parameter → value.
        score: Validation score: mean over seeds in the finals, else of the single run; None if the
            run did not finish.
        error: Half of the 95 % interval of the mean; None outside the finals.
        seeds: Number of finished runs in the finals; 0 for other trials.
        epochs: Passes over the training clips when training stopped, mean over runs; None if
            unknown.
        test: Mean test score over seeds; None except for a winner that was scored on test.
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
        cells = [self._format_cells(row) for row in self.rows]
        return tabulate(cells, headings, tablefmt=_TABULATE_FORMATS[style], disable_numparse=True)

    def _format_cells(self, row: SweepTableRow) -> list[str]:
        """Return the text of a row's cells, in the order of the headings."""
        values = [_format_value(row.values.get(name)) for name in self.parameters]
        error = "" if row.error is None else f" ± {row.error:.2f}"
        score = "" if row.score is None else f"{row.score:.2f}{error}"
        rank, seeds = str(row.rank or ""), str(row.seeds or "")
        numbers = ["" if number is None else f"{number:.2f}" for number in (row.epochs, row.test)]
        return [rank, row.name, row.state, *values, score, seeds, *numbers]


def build_sweep_table(folder: Path) -> SweepTable:
    """Build the table of a sweep, finished or not.

    Args:
        folder: Folder of the sweep.

    Raises:
        CheckpointError: If the folder holds no sweep, or this version does not know an event.
    """
    metadata, events = read_sweep_metadata(folder), read_journal(folder)
    space = metadata.space
    trials = {f"trial {t.number}": t for t in build_trials(events)}
    rows = []
    # Ranks come from `result.json`, which a running sweep does not have yet.
    if (folder / RESULT).is_file():
        base_values = compute_base_values(space, metadata.recipe)
        recorded_runs = _collect_recorded_runs(events)
        outcome = read_sweep_outcome(folder)
        for index, ranked in enumerate(outcome.ranking):
            # The untuned recipe is no trial; its values are those of the recipe itself.
            values = trials[ranked.name].values if ranked.name in trials else base_values
            swept_values = {name: values.get(name) for name in space.searched_parameters}
            runs = recorded_runs.get(ranked.name) or _find_shared_runs(ranked, trials, base_values)
            rows.append(_build_finalist_row(folder, outcome, index, swept_values, runs))
    ranked_names = {row.name for row in rows}
    unranked_trials = [
        t for name, t in trials.items() if name not in ranked_names and t.duplicate_of is None
    ]
    # `sort_trials` falls back on unfinished trials; these are listed after the finished ones.
    finished = [t for t in sort_trials(space, unranked_trials) if t.state == "finished"]
    unfinished = [t for t in unranked_trials if t.state != "finished"]
    metric = space.objectives[0].name
    rows += [
        _build_trial_row(folder, space.search.seed, metric, t) for t in (*finished, *unfinished)
    ]
    return SweepTable(metric, tuple(space.searched_parameters), tuple(rows))


def _collect_recorded_runs(events: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return finalist → names of its finished run folders, according to the journal."""
    runs: dict[str, list[str]] = {}
    for event in events:
        if event["event"] == "run_finished":
            runs.setdefault(event["finalist"], []).append(event["run"])
    return runs


def _find_shared_runs(
    ranked: RankedConfiguration, trials: Mapping[str, Trial], base_values: Values
) -> list[str]:
    """Return the names of the run folders of a finalist without finished runs in the journal.

    Finalists with equal configurations, such as the untuned recipe and a trial, share their run
    folders, and the journal names only the finalist whose runs were trained.

    Args:
        ranked: Finalist in the ranking.
        trials: Name → trial, for all trials of the search.
        base_values: Flattened recipe values with fixed values.
    """
    untuned_trials = (
        trial
        for trial in trials.values()
        if all(base_values.get(key) == value for key, value in trial.values.items())
    )
    trial = trials.get(ranked.name) or next(untuned_trials, None)
    if trial is None:
        return []
    return [format_run_name(trial.config_hash, seed) for seed in ranked.scores]


def _build_finalist_row(
    folder: Path,
    outcome: SweepOutcome,
    index: int,
    swept_values: Values,
    runs: Sequence[str],
) -> SweepTableRow:
    """Build the row of a finalist.

    Args:
        folder: Folder of the sweep.
        outcome: Outcome of the sweep.
        index: Index of the finalist in the ranking.
        swept_values: Swept parameter → value.
        runs: Names of the finalist's run folders.
    """
    ranked = outcome.ranking[index]
    # Test is scored for the winner alone.
    test_scores = outcome.test if ranked.name == outcome.winner else {}
    test = [scores[outcome.metric] for scores in test_scores.values() if outcome.metric in scores]
    return SweepTableRow(
        rank=index + 1,
        name=ranked.name,
        state="finals",
        values=swept_values,
        score=ranked.mean,
        error=(ranked.high - ranked.low) / 2,
        seeds=len(ranked.scores),
        epochs=_compute_mean_epochs(folder, runs),
        test=fmean(test) if test else None,
    )


def _build_trial_row(folder: Path, seed: int, metric: str, trial: Trial) -> SweepTableRow:
    """Build the row of a trial that is not in the ranking.

    Args:
        folder: Folder of the sweep.
        seed: Random seed of the search runs.
        metric: Name of the deciding objective.
        trial: The trial.
    """
    run = format_run_name(trial.config_hash, seed)
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
    """Return the mean number of epochs over runs; None if no run has a result with epochs.

    Runs without a result, or with a damaged one, are ignored.
    """
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
    """Format a value: empty for None, four significant digits for a float."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
