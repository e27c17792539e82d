"""All configurations of a sweep in one table, as it goes into a paper or a spreadsheet.

First those of the finals, ranked on validation, then what the search tried and left. Test stands
only where it was scored; nothing is sorted by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from tabulate import tabulate

from kinesweep.core.errors import CheckpointError
from kinesweep.core.hashing import flatten
from kinesweep.sweeps.arms import fixed_values
from kinesweep.sweeps.finals import best_trials
from kinesweep.sweeps.journal import RESULT, Trial, read_journal, read_trials
from kinesweep.sweeps.outcome import Outcome
from kinesweep.sweeps.ranking import Rank
from kinesweep.sweeps.record import Record, read_outcome, read_record
from kinesweep.sweeps.run_folders import RUNS, run_name
from kinesweep.training.result import read_result

Style = Literal["tsv", "markdown", "latex"]
_FORMATS = {"tsv": "tsv", "markdown": "github", "latex": "latex_booktabs"}


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        rank: in the finals, from 1; None for what did not get there.
        name: `trial 3` or `untuned`.
        state: of its trial, or `finals`.
        values: swept parameter → value.
        score: on validation: mean over seeds in the finals, of the one run in the search.
        error: half of the 95 % interval of that mean; None in the search.
        seeds: runs in the finals.
        epochs: passes over the training clips when training stopped, mean over its runs.
        test: mean over seeds, where test was scored.
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
    """A sweep's table.

    Attributes:
        metric: that ranks.
        parameters: swept ones, in the order of the space.
        rows: the finals first.
    """

    metric: str
    parameters: tuple[str, ...]
    rows: tuple[Row, ...]

    def render(self, style: Style) -> str:
        """As text in a style."""
        headings = ["rank", "configuration", "state", *self.parameters, f"{self.metric} validation"]
        headings += ["seeds", "epochs", f"{self.metric} test"]
        lines = [self._cells(row) for row in self.rows]
        return tabulate(lines, headings, tablefmt=_FORMATS[style], disable_numparse=True)

    def _cells(self, row: Row) -> list[str]:
        values = [_plain(row.values.get(name)) for name in self.parameters]
        error = "" if row.error is None else f" ± {row.error:.2f}"
        score = "" if row.score is None else f"{row.score:.2f}{error}"
        rank, seeds = str(row.rank or ""), str(row.seeds or "")
        shown = ["" if x is None else f"{x:.2f}" for x in (row.epochs, row.test)]
        return [rank, row.name, row.state, *values, score, seeds, *shown]


def summarise(folder: Path) -> Summary:
    """The table of a sweep, finished or not.

    Raises:
        CheckpointError: no sweep there, or a damaged one.
    """
    record, events = read_record(folder), read_journal(folder)
    trials = {f"trial {t.number}": t for t in read_trials(events)}
    outcome = read_outcome(folder) if (folder / RESULT).is_file() else None
    runs: dict[str, list[str]] = {}
    for event in events:
        if event["event"] == "run_finished":
            runs.setdefault(event["finalist"], []).append(event["run"])
    rows = []
    if outcome is not None:
        rows = [
            _final(folder, record, outcome, place, trials.get(line.name), runs[line.name])
            for place, line in enumerate(outcome.ranking)
        ]
    ranked = {row.name for row in rows}
    rest = [t for name, t in trials.items() if name not in ranked and t.twin is None]
    finished = [t for t in best_trials(record.space, rest) if t.state == "finished"]
    rest = [*finished, *(t for t in rest if t.state != "finished")]
    metric = record.space.objectives[0].name
    rows += [_searched(folder, record, metric, trial) for trial in rest]
    return Summary(metric, tuple(record.space.searched), tuple(rows))


def _final(
    folder: Path,
    record: Record,
    outcome: Outcome,
    place: int,
    trial: Trial | None,
    runs: Sequence[str],
) -> Row:
    line: Rank = outcome.ranking[place]
    base = {**flatten(record.recipe.model_dump(mode="json")), **fixed_values(record.space)}
    own = trial.values if trial is not None else base
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
    """Mean over the runs that have a result; one that is damaged counts as none."""
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
    """A value in few characters."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
