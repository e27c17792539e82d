"""A finished sweep as frames and a study: the same numbers as its journal and result."""

from pathlib import Path

import pytest

import kinesweep as ks
from kinesweep.pipelines.sweeps.sweep_data import SweepData
from kinesweep.sweeps.journal.journal import build_trials, read_journal
from kinesweep.sweeps.results.outcome_file import read_sweep_outcome

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def data(finished: Path) -> SweepData:
    return ks.load_sweep(finished)


def test_trials_are_those_of_the_journal(data: SweepData, finished: Path) -> None:
    trials = build_trials(read_journal(finished))
    assert data.trials.index.tolist() == [trial.number for trial in trials]
    for trial in trials:
        row = data.trials.loc[trial.number]
        assert row["state"] == trial.state
        assert all(row[name] == value for name, value in trial.values.items())
        assert all(row[name] == value for name, value in trial.scores.items())


def test_the_ranking_is_that_of_the_result(data: SweepData, finished: Path) -> None:
    outcome = read_sweep_outcome(finished)
    assert data.ranking.index.tolist() == [line.name for line in outcome.ranking]
    assert data.ranking["mean"].tolist() == [line.mean for line in outcome.ranking]
    assert data.ranking["gap_to_best"].iloc[0] == 0
    assert data.answer == outcome.answer


def test_curves_are_long_and_of_all_runs(data: SweepData) -> None:
    assert {"search", "finals"} <= set(data.curves["phase"])
    one = data.curves.query("run == 'trial 0' and metric == 'token_loss'")
    assert one["samples"].is_monotonic_increasing and len(one) >= 1


def test_the_study_has_the_finished_trials(data: SweepData) -> None:
    finished = data.trials.query("state == 'finished'")
    values = [t.values[0] for t in data.study.trials if t.state.name == "COMPLETE"]
    assert values == finished[data.report.metric].tolist()


def test_notebooks_show_it(data: SweepData) -> None:
    page = data._repr_html_()
    assert "<table" in page and data.question in page and data.answer in repr(data)
