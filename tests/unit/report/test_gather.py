"""What a report says of a finished sweep is what its folder holds."""

import json
import shutil
from pathlib import Path

import pytest

from kinesweep.core.errors import CheckpointError
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.pipelines.sweeps.sweep_report import collect_report_data, write_sweep_report
from kinesweep.report import SweepReport
from kinesweep.sweeps.journal.sweep_metadata import read_sweep_metadata
from kinesweep.sweeps.results.outcome_file import read_sweep_outcome

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def report(finished: Path) -> SweepReport:
    return collect_report_data(finished)


def test_the_ranking_is_that_of_the_result(report: SweepReport, finished: Path) -> None:
    told = json.loads((finished / "result.json").read_text())
    assert [line["name"] for line in report.ranking] == [line["name"] for line in told["ranking"]]
    assert [line["mean"] for line in report.ranking] == [line["mean"] for line in told["ranking"]]
    assert (report.answer, report.winner) == (told["answer"], told["winner"])
    assert read_sweep_outcome(finished).ranking[0].mean == report.ranking[0]["mean"]


def test_every_trial_and_run_is_there(report: SweepReport) -> None:
    assert [trial.number for trial in report.trials] == list(range(8))
    states = [trial.state for trial in report.trials]
    searched = {curve.name: curve for curve in report.curves if curve.phase == "search"}
    assert [searched[f"trial {n}"].state for n in range(8)] == states
    assert {len(c.samples) for c in searched.values() if c.state == "finished"} == {3}
    assert all(len(c.samples) < 3 for c in searched.values() if c.state == "pruned")
    finals = [curve for curve in report.curves if curve.phase == "finals"]
    # Each level's best and the untuned recipe with two seeds, and one run on zeros.
    assert len(finals) == 7
    assert {"token_loss", "bleu"} <= set(finals[0].measured)


def test_samples_are_the_exported_seeds(report: SweepReport, finished: Path) -> None:
    run = Path(read_sweep_outcome(finished).winner_runs[0])
    lines = read_predictions(run / "predictions/validation.tsv")
    assert [s.hypothesis for s in report.samples] == [p.hypothesis for p in lines]
    assert all(s.signer and s.frames > 0 for s in report.samples)


def test_parts_count_every_clip_once(report: SweepReport) -> None:
    validation = [part for part in report.parts if part.what.startswith("validation")]
    assert sum(part.clips for part in validation) == len(report.samples)
    assert sum(s.in_train for s in report.samples) == sum(
        part.clips for part in validation if part.what.endswith("that occur in train")
    )
    assert any(part.what.startswith("test") for part in report.parts)


def test_it_can_be_done_again(report: SweepReport, finished: Path) -> None:
    record = read_sweep_metadata(finished)
    assert report.repeat["search seed"] == "0"
    assert report.repeat["features"]
    assert {"kinesweep", "packages", "torch"} <= set(record.made_with)
    assert "question: Which rate?" in report.space


def test_secrets_stay_out(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    page = write_sweep_report(finished)
    assert "hunter2hunter2" not in page.read_text() + (page.parent / "report.json").read_text()


def test_a_sweep_that_goes_on_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="kinesweep status"):
        write_sweep_report(tmp_path)


def test_a_loss_that_is_no_number_is_a_gap(finished: Path, tmp_path: Path) -> None:
    """A diverged run must not cost the report."""
    copy = tmp_path / "sweep"
    shutil.copytree(finished, copy)
    metrics = sorted(copy.glob("runs/*/metrics.jsonl"))[0]
    row = {"step": 99, "samples": 999, "token_loss": float("nan")}
    metrics.write_text(metrics.read_text() + json.dumps(row) + "\n")
    page = write_sweep_report(copy)
    curves = json.loads((page.parent / "report.json").read_text())["curves"]
    (broken,) = [curve for curve in curves if 999 in curve["samples"]]
    assert broken["measured"]["token_loss"][-1] is None
    assert broken["measured"]["bleu"][-1] is None
