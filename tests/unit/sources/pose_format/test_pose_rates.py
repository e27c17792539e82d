"""The frame rate of `.pose` files: replaced by `source.fps`, implausible or cut.

Rates are float32 in v0.2 and uint16 in v0.0 and v0.1 (specification of pose-format); NTSC's rates
are multiples of 1000/1001 (SMPTE ST 170).
"""

import logging
from pathlib import Path
from typing import Any

import pytest

from kinesweep.config.recipe.source import PoseFeaturesConfig, PoseTsvConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.export.raw_inputs import read_raw_file
from kinesweep.features.quality.corpus_findings import find_rate_findings
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from poses import pose_file, signer


def write(folder: Path, **values: Any) -> Path:
    path = folder / "a.pose"
    path.write_bytes(pose_file(signer(30), **values))
    return path


def source_of(folder: Path, **config: Any) -> PoseTsvSource:
    table = folder / "train.tsv"
    table.write_text("signal\tsignal_start\tsignal_end\toutput\na.pose\t200\t600\tA text.\n")
    return PoseTsvSource(PoseTsvConfig(train=str(table), **config))


@pytest.mark.parametrize("stated", [0.0, float("nan"), float("inf"), -25.0])
def test_a_rate_that_is_none_is_an_error_until_the_recipe_states_one(
    tmp_path: Path, stated: float
) -> None:
    write(tmp_path, fps=stated)
    source = source_of(tmp_path)
    (clip,) = source.list_clips("train")
    with pytest.raises(ClipError, match=r"`source\.fps`") as caught:
        source.read(clip)
    assert caught.value.reason == "bad_fps"
    pose = source_of(tmp_path, fps=50.0).read(clip)
    assert (pose.fps, len(pose.points_TPJC)) == (50.0, 20)


@pytest.mark.parametrize("version", [0.0, 0.1, 0.2])
def test_spans_in_time_follow_the_rate_of_the_recipe(tmp_path: Path, version: float) -> None:
    write(tmp_path, version=version, fps=25)
    lengths = {}
    for fps in (None, 12.5, 25.0, 50.0):
        source = source_of(tmp_path, fps=fps)
        pose = source.read(source.list_clips("train")[0])
        lengths[pose.fps] = len(pose.points_TPJC)
    assert lengths == {25.0: 10, 12.5: 6, 50.0: 20}


def test_only_a_stated_rate_changes_the_fingerprint(tmp_path: Path) -> None:
    plain = {"source": "pose_tsv", "person": 0}
    assert source_of(tmp_path).get_read_options() == plain
    assert source_of(tmp_path, fps=30.0).get_read_options() == {**plain, "fps": 30.0}


def test_poses_that_are_estimated_keep_the_rate_of_their_video(tmp_path: Path) -> None:
    config = PoseTsvConfig(train="a.tsv", fps=30.0, videos="videos", root="poses")
    assert config.pose_fps is None  # there it is the rate of folders of images


@pytest.mark.parametrize(
    ("version", "whole"), [(0.0, True), (0.1, True), (0.2, False)], ids=["v0.0", "v0.1", "v0.2"]
)
def test_a_reader_says_whether_the_file_could_store_the_rate(
    tmp_path: Path, version: float, whole: bool
) -> None:
    path = write(tmp_path, version=version, fps=29)
    assert read_pose(path).has_whole_fps is whole
    assert not read_pose(path, Span(), fps=29.97).has_whole_fps


@pytest.mark.parametrize(
    ("fps", "whole", "kinds"),
    [
        *((fps, True, ["cut_rate"]) for fps in (23.0, 29.0, 47.0, 59.0, 119.0)),
        *((fps, False, []) for fps in (23.0, 29.0, 23.976, 29.97, 59.94)),
        *((fps, True, []) for fps in (5.0, 12.0, 24.0, 25.0, 30.0, 50.0, 60.0, 120.0, 240.0)),
        *((fps, False, ["implausible_rate"]) for fps in (0.5, 4.99, 240.5, 1000.0, 90000.0)),
    ],
)
def test_rates_that_may_be_wrong(fps: float, whole: bool, kinds: list[str]) -> None:
    assert [kind for kind, _ in find_rate_findings(fps, whole)] == kinds


def test_a_raw_file_is_read_at_the_rate_of_the_recipe_or_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, features = write(tmp_path, version=0.1, fps=29), PoseFeaturesConfig()
    with caplog.at_level(logging.WARNING, "kinesweep"):
        read_raw_file(PoseTsvConfig(train="a.tsv"), features, path, Span())
    assert "cut_rate" in caplog.text and "a.pose" in caplog.text and "29.970" in caplog.text
    caplog.clear()
    pose = read_raw_file(PoseTsvConfig(train="a.tsv", fps=29.97), features, path, Span())
    assert pose.fps == 29.97 and not caplog.text  # type: ignore[union-attr]
