"""The data of a finished sweep as data frames and an Optuna study, for analysis in a notebook.

Everything is read from the sweep's folder, its runs and its store, as the report does; MLflow and
Ray are not needed.
"""

from functools import cached_property
from html import escape
from pathlib import Path

import optuna
import pandas as pd

from kinesweep.pipelines.sweeps.sweep_report import collect_report_data
from kinesweep.report.optuna_figures import build_study
from kinesweep.report.report_data import SweepReport


class SweepData:
    """The data of a finished sweep.

    Args:
        folder: Sweep folder.

    Raises:
        CheckpointError: If the folder holds no finished sweep.
        StoreError: If the features of the sweep are missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._report = collect_report_data(folder)

    @property
    def report(self) -> SweepReport:
        """Return the data of the sweep's report, without images."""
        return self._report

    @property
    def question(self) -> str:
        """Return the question that the search space states."""
        return self._report.question

    @property
    def answer(self) -> str:
        """Return the answer to the question, the conclusion of the sweep in one sentence."""
        return self._report.answer

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Return one row per trial: number (index), state, seconds, parameters and objectives.

        The frame is empty if the sweep has no trials.
        """
        rows = [
            {
                "number": trial.number,
                "state": trial.state,
                "seconds": trial.seconds,
                **trial.values,
                **trial.scores,
            }
            for trial in self._report.trials
        ]
        return pd.DataFrame(rows).set_index("number") if rows else pd.DataFrame()

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """Return one row per finalist, the best first.

        Columns: `name` (index); `mean`, the mean score over seeds, with the 95 % interval `low` to
        `high`; `gap_to_best`, the difference from the best mean, with the interval `gap_low` to
        `gap_high`; the `p_value` of that difference, and `tied`, whether it is not significant.
        """
        columns = ("name", "mean", "low", "high", "gap_to_best", "gap_low", "gap_high")
        rows = [
            {column: ranked[column] for column in (*columns, "p_value", "tied")}
            for ranked in self._report.ranking
        ]
        return pd.DataFrame(rows).set_index("name")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Return the learning curves of all runs in long form.

        Columns: `run`, `phase`, `state`, `samples` (clips seen), `metric`, `value` (None where it
        was not finite).
        """
        rows = [
            (curve.name, curve.phase, curve.state, samples, metric, value)
            for curve in self._report.curves
            for metric, values in curve.measured.items()
            for samples, value in zip(curve.samples, values, strict=True)
        ]
        return pd.DataFrame(rows, columns=["run", "phase", "state", "samples", "metric", "value"])

    @cached_property
    def study(self) -> optuna.Study:
        """Return an in-memory Optuna study with the trials, for Optuna's own visualizations."""
        return build_study(self._report)

    def __repr__(self) -> str:
        return f"SweepData({str(self.folder)!r}): {self.answer}"

    def _repr_html_(self) -> str:
        """Return the question, the answer and the ranking as HTML, which notebooks show."""
        table = self.ranking.to_html(float_format="{:.2f}".format)
        return f"<p><b>{escape(self.question)}</b></p><p>{escape(self.answer)}</p>{table}"
