"""The check of a corpus of videos: what it names is what extraction drops, and doubtful rates.

Files after ISO 14496-12 (MP4), RFC 9559 (Matroska, WebM) and ISO 13818-1 (transport streams).
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import kinesweep
from faulty_videos import EVEN_MS, FaultyVideos, cut, faulty_crop_corpus, faulty_video_corpus
from kinesweep.cli import app
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.pipelines.corpus_check import CorpusCheck, check_corpus
from kinesweep.sources.video.frame_reader import FrameReader
from kinesweep.store.extraction.build import extract_locally
from timed_films import write_timed_video
from vision import film_recipe, vision_model

CORPORA: dict[str, Callable[[Path, Path], FaultyVideos]] = {
    "videos": faulty_video_corpus,
    "images": lambda folder, model: faulty_video_corpus(folder, model, images=True),
    "crops": faulty_crop_corpus,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision_model(tmp_path_factory.mktemp("model") / "dinov2", "dinov2")


def name_rows(found: CorpusCheck) -> dict[str, str]:
    return {row.row: row.reason for row in found.invalid_rows}


@pytest.mark.parametrize("kind", CORPORA)
def test_every_fault_is_named_and_extraction_drops_exactly_these(
    kind: str, model: Path, tmp_path: Path
) -> None:
    made = CORPORA[kind](tmp_path, model)
    found = check_corpus(made.recipe)
    assert name_rows(found) == made.expected
    assert found.table_errors == found.violations == []
    assert "`check --decode`" in found.not_checked
    decoded = kinesweep.check(made.recipe, decode=True)
    assert name_rows(decoded) == made.expected | made.expected_by_decoding
    assert "was not run" in decoded.not_checked and "--decode" not in decoded.not_checked
    dropped = extract_locally(made.recipe).manifest["dropped"]["rows"]
    assert {row["row"]: row["reason"] for row in dropped} == name_rows(decoded)


def test_the_command_decodes_on_demand_and_leaves_with_2(model: Path, tmp_path: Path) -> None:
    made = faulty_video_corpus(tmp_path, model)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(made.recipe.model_dump(mode="json")))
    result = CliRunner().invoke(app, ["check", str(recipe), "--decode", "--json"])
    assert result.exit_code == 2
    values = json.loads(result.stdout.strip().splitlines()[-1])
    named = {row["row"]: row["reason"] for row in values["problems"]}
    assert named == made.expected | made.expected_by_decoding


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_recording_that_shows_its_last_frame_for_long_is_whole(
    tmp_path: Path, suffix: str
) -> None:
    """Neither the header of a live recording nor a long last frame promises more bytes."""
    ticks = [*EVEN_MS[:30], 9000]
    for options in ({}, {"live": "1"}):
        path = write_timed_video(tmp_path / f"a{suffix}", ticks, container_options=options)
        reader = FrameReader(VideoSegment(path), None)
        reader.verify_files()
        assert len(list(reader)) == reader.end
    cut(path)  # what was live and was cut off cannot be told from a shorter recording
    FrameReader(VideoSegment(path), None).verify_files()


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8, 0.93, 1.0])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi"])
def test_counting_frames_names_nothing_that_decoding_accepts(
    tmp_path: Path, name: str, share: float
) -> None:
    options = {"movflags": "faststart"} if name[-3:] in ("mp4", "mov") else {}
    path = write_timed_video(tmp_path / name, EVEN_MS, rate=25, container_options=options)
    cut(path, share)
    for span in (Span(), Span.from_ms(0, 400), Span.from_ms(400, 1600), Span.from_ms(800, 2400)):
        counted, decoded = [], []
        for found, read in ((counted, FrameReader.verify_files), (decoded, list)):
            try:
                read(FrameReader(VideoSegment(path, span), None))
            except kinesweep.core.errors.ClipError as error:
                found.append(error.reason)
        assert counted == decoded or not counted, span
        if share <= 0.8 and span == Span() and not name.endswith("avi"):
            assert counted == decoded != []


def test_a_doubtful_rate_is_a_warning_for_each_file(tmp_path: Path) -> None:
    """Two clips of a film of 2 frames a second, one of a usual film."""
    write_timed_video(tmp_path / "slow.webm", range(0, 10_000, 500), rate=2)
    write_timed_video(tmp_path / "usual.webm", range(0, 2_000, 40), rate=25)
    rows = ["slow.webm\t0\t4000\tOne.", "usual.webm\t\t\tTwo.", "slow.webm\t4000\t8000\tThree."]
    table = tmp_path / "train.tsv"
    table.write_text("\n".join(["signal\tsignal_start\tsignal_end\toutput", *rows]) + "\n")
    (tmp_path / "validation.tsv").write_text(table.read_text())
    found = check_corpus(film_recipe(tmp_path, tmp_path / "model", tmp_path / "stores"))
    assert found.invalid_rows == []
    assert [(warning.row, warning.kind) for warning in found.warnings] == [
        ("train.tsv:2", "implausible_rate")
    ]
    assert "slow.webm" in found.warnings[0].message
