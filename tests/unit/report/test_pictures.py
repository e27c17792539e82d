"""Clips in a sweep's report: drawn, linked, and where they are not, the report says why."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from kinesweep.core.errors import InputError
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.pipelines.sweeps import report_media
from kinesweep.pipelines.sweeps.report_media import render_winner_samples
from kinesweep.pipelines.sweeps.sweep_report import write_sweep_report
from kinesweep.report import ClipImage, SweepReport, write_report
from kinesweep.store import open_store
from kinesweep.sweeps.journal.sweep_metadata import read_sweep_metadata
from kinesweep.sweeps.results.outcome_file import read_sweep_outcome

pytestmark = pytest.mark.integration


@pytest.fixture
def winner(finished: Path) -> Path:
    """Its run folder."""
    return Path(read_sweep_outcome(finished).winner_runs[0])


@pytest.fixture
def said(winner: Path) -> list[Prediction]:
    return read_predictions(winner / "predictions/validation.tsv")


def test_three_clips_stand_in_the_page(finished: Path, said: list[Prediction]) -> None:
    page = write_sweep_report(finished)
    data = json.loads((page.parent / "report.json").read_text())
    assert len(data["pictures"]) == 3 and data["not_drawn"] == []
    known = {line.clip_id: line for line in said}
    text = page.read_text()
    assert text.count('<img src="data:image/png;base64,') == 3
    for one in data["pictures"]:
        assert one["hypothesis"] == known[one["clip"]].hypothesis
        assert tuple(one["references"]) == known[one["clip"]].references
        with Image.open(page.parent / one["image"]) as picture:
            assert min(picture.size) > 200
        looked = (page.parent / one["attention"]).read_text()
        assert f'<a href="{one["attention"]}">' in text and one["clip"] in looked
        found = re.search(r'<h1 id="hypothesis" dir="auto">(.*?)</h1>', looked)
        assert found and found[1].removeprefix("(empty)") == one["hypothesis"]
    assert len({one["clip"] for one in data["pictures"]}) == 3


def test_an_earlier_reports_clips_are_replaced(
    finished: Path, winner: Path, said: list[Prediction], tmp_path: Path
) -> None:
    base = open_store(read_sweep_metadata(finished).store_dir)
    render_winner_samples(tmp_path, winner, said, base)
    pictures, _ = render_winner_samples(tmp_path, winner, said[:1], base)
    assert [one.clip for one in pictures] == [said[0].clip_id]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["attention-1.html", "clip-1.png"]


def fail(*_: object, **__: object) -> None:
    raise InputError("it shows no attention")


def test_what_cannot_be_looked_at_is_said(
    finished: Path,
    winner: Path,
    said: list[Prediction],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = open_store(read_sweep_metadata(finished).store_dir)
    monkeypatch.setattr(report_media, "build_attention_page", fail)
    pictures, (why,) = render_winner_samples(tmp_path, winner, said, base)
    assert [bool(one.image) for one in pictures] == [True] * 3
    assert not any(one.attention for one in pictures)
    assert "it shows no attention" in why and f"kinesweep attention {winner} " in why
    monkeypatch.setattr(report_media, "_MAX_MODEL_BYTES", 10)
    _, (why,) = render_winner_samples(tmp_path, winner, said, base)
    assert "not loaded" in why and "it shows" not in why


def test_features_without_points_are_no_loss(
    finished: Path,
    winner: Path,
    said: list[Prediction],
    tmp_path: Path,
    made_up: Callable[..., SweepReport],
) -> None:
    """Nothing is drawn, the pages are there, and the report says so."""
    base = open_store(read_sweep_metadata(finished).store_dir)
    streams = base.schema.streams
    bare = {name: replace(stream, layout=None) for name, stream in streams.items()}
    base.__dict__["schema"] = replace(base.schema, streams=bare)
    pictures, (why,) = render_winner_samples(tmp_path, winner, said, base)
    assert "no points to draw" in why
    assert [one.image for one in pictures] == [""] * 3 and all(one.attention for one in pictures)
    report = made_up(pictures=pictures, not_drawn=[why])
    text = write_report(tmp_path, report).read_text()
    assert "Not shown: images of clips" in text and "<img" not in text


def test_a_defect_is_not_hidden(
    finished: Path,
    winner: Path,
    said: list[Prediction],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def defect(*_: object) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr(report_media, "build_attention_page", defect)
    with pytest.raises(AssertionError, match="ours"):
        render_winner_samples(
            tmp_path, winner, said, open_store(read_sweep_metadata(finished).store_dir)
        )


def test_features_that_are_gone_are_said(
    finished: Path, winner: Path, said: list[Prediction], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(winner / "best", run / "best")
    features = json.loads((run / "best/features.json").read_text())
    features["store_fingerprint"] = "0" * 64
    (run / "best/features.json").write_text(json.dumps(features))
    base = open_store(read_sweep_metadata(finished).store_dir)
    pictures, (why,) = render_winner_samples(tmp_path / "report", run, said, base)
    assert pictures == [] and "000000000000" in why


def test_texts_of_clips_cannot_break_out(
    made_up: Callable[..., SweepReport], tmp_path: Path
) -> None:
    evil = "</p><img src=x onerror=alert(2)>"
    report = made_up(pictures=[ClipImage(evil, [evil], evil, "", "")], not_drawn=[evil])
    assert "<img src=x" not in write_report(tmp_path, report).read_text()
