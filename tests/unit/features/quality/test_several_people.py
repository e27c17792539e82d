"""Clips that show several people are named, because only one of them is read."""

from pathlib import Path

import numpy as np
import pytest

from kinesweep.core.clip import Clip
from kinesweep.features.quality.corpus_findings import find_quality_warnings
from kinesweep.features.quality.media_statistics import compute_media_statistics
from kinesweep.sources.pose_format.pose_file import read_pose
from poses import pose_file, signer


def write_two_people(path: Path, version: float, second_is_found: bool) -> Path:
    points = np.concatenate([signer(20), signer(20, seed=1)], axis=1)
    confidence = np.ones(points.shape[:3], np.float32)
    confidence[:, 1] = second_is_found
    path.write_bytes(pose_file(points, confidence, version))
    return path


@pytest.mark.parametrize("version", [0.0, 0.1, 0.2])
def test_people_of_a_file_are_counted(tmp_path: Path, version: float) -> None:
    pose = read_pose(write_two_people(tmp_path / "a.pose", version, second_is_found=True))
    assert pose.num_people == 2 and pose.points_TPJC.shape[1] == 1


def test_room_for_a_person_who_is_never_found_is_no_person(tmp_path: Path) -> None:
    pose = read_pose(write_two_people(tmp_path / "a.pose", 0.2, second_is_found=False))
    assert pose.num_people == 1


def test_one_warning_a_split_names_a_clip(tmp_path: Path) -> None:
    path = write_two_people(tmp_path / "a.pose", 0.2, second_is_found=True)
    statistics = compute_media_statistics(read_pose(path))
    assert statistics is not None
    clips = [Clip(f"clip{n}", "train", "a.pose", row=f"train.tsv:{n + 2}") for n in range(3)]
    (warning,) = find_quality_warnings([(clip, statistics) for clip in clips])
    assert (warning.row, warning.kind) == ("train", "several_people")
    assert "3 of 3 clips of train" in warning.message and "`clip0` (train.tsv:2) with 2" in (
        warning.message
    )
