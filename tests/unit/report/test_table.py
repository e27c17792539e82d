"""The table of a sweep: every configuration once, ranked on validation, in three styles."""

import csv
import shutil
from pathlib import Path
from statistics import fmean

import pytest

from kinesweep.cli import main
from kinesweep.sweeps.results.outcome_file import read_sweep_outcome
from kinesweep.sweeps.results.table import SweepTable, build_sweep_table
from sweeping import RATE

pytestmark = pytest.mark.integration

SMOOTHING = "training.label_smoothing_factor"


@pytest.fixture(scope="module")
def table(finished: Path) -> SweepTable:
    return build_sweep_table(finished)


def test_every_configuration_stands_once(table: SweepTable, finished: Path) -> None:
    outcome = read_sweep_outcome(finished)
    finals = [row for row in table.rows if row.rank]
    assert [row.name for row in finals] == [line.name for line in outcome.ranking]
    assert [row.score for row in finals] == [line.mean for line in outcome.ranking]
    assert "untuned" in [row.name for row in finals]
    trials = [row.name for row in table.rows if row.name != "untuned"]
    assert sorted(trials) == [f"trial {number}" for number in range(8)]
    assert table.parameters == (RATE, SMOOTHING)
    assert all(set(row.values) == {RATE, SMOOTHING} for row in table.rows)
    searched = [row for row in table.rows if not row.rank and row.state == "finished"]
    assert [row.score for row in searched] == sorted((r.score for r in searched), reverse=True)
    assert {row.score for row in table.rows if row.state == "pruned"} == {None}


def test_error_epochs_and_test(table: SweepTable, finished: Path) -> None:
    outcome = read_sweep_outcome(finished)
    best = table.rows[0]
    line = outcome.ranking[0]
    assert best.error == (line.high - line.low) / 2
    assert best.test == fmean(scores["bleu"] for scores in outcome.test.values())
    assert [row.name for row in table.rows if row.test is not None] == [outcome.winner]
    assert all(row.epochs and row.epochs > 0 for row in table.rows)
    whole = max(row.epochs or 0 for row in table.rows)
    assert all((row.epochs or 0) < whole for row in table.rows if row.state == "pruned")


def test_styles(table: SweepTable) -> None:
    rows = list(csv.reader(table.render("tsv").splitlines(), delimiter="\t"))
    heading = [cell.strip() for cell in rows[0]]
    assert heading[3:6] == [RATE, SMOOTHING, "bleu validation"]
    assert len(rows) == len(table.rows) + 1
    assert "±" in rows[1][5] and float(rows[1][5].split("±")[0]) == round(table.rows[0].score, 2)
    assert table.render("markdown").splitlines()[1].startswith("|--")
    latex = table.render("latex")
    assert r"\toprule" in latex and r"training.label\_smoothing\_factor" in latex


def test_a_sweep_that_goes_on(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "sweep")
    (tmp_path / "sweep/result.json").unlink()
    rows = build_sweep_table(tmp_path / "sweep").rows
    assert len(rows) == 8 and not any(row.rank for row in rows)


def test_the_verb(
    table: SweepTable,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished, tmp_path / "sweeps/tiny")
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    for words, code in ((["tiny", "--table", "markdown"], 0), (["--table", "tsv"], 2)):
        with pytest.raises(SystemExit) as left:
            main(["status", *words])
        assert (left.value.code or 0) == code
    assert capsys.readouterr().out == table.render("markdown") + "\n"
