"""Poses of estimators whose files are not at hand, made by code: equal to pose-format's chain."""

from pathlib import Path

import numpy as np
import pytest
from pose_format import Pose
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderDimensions
from pose_format.utils.generic import get_standard_components_for_known_format, pose_hide_legs

from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.features import build_features
from kinesweep.sources import read_pose

WIDTHS = {
    "openpose": 274,
    "alphapose_133": 266,
    "alphapose_136": 272,
    "coco_wholebody_133": 266,
}


def make_pose(known: str, path: Path, frames: int = 9) -> None:
    """Points anywhere, every tenth of them not found, both shoulders lost in one frame."""
    rng = np.random.default_rng(5)
    parts = get_standard_components_for_known_format(known)
    points = sum(len(part.points) for part in parts)
    coordinates = len(parts[0].format) - 1
    x_TPJC = rng.normal(300, 80, (frames, 1, points, coordinates)).astype(np.float32)
    confidence_TPJ = (rng.random((frames, 1, points)) > 0.1).astype(np.float32)
    confidence_TPJ[3] = 0
    header = PoseHeader(0.2, PoseHeaderDimensions(640, 480, 0), parts)
    with path.open("wb") as file:
        Pose(header, NumPyPoseBody(25, x_TPJC, confidence_TPJ)).write(file)


@pytest.mark.parametrize("known", WIDTHS)
def test_features_equal_pose_format(known: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pose"
    make_pose(known, path)
    ours = build_features(PoseFeaturesConfig(points="all"))(read_pose(path))
    theirs = pose_hide_legs(Pose.read(path.read_bytes())).normalize()
    zeroed = theirs.body.torch().zero_filled().data[:, 0].numpy()
    assert ours.shape[1] == WIDTHS[known]
    assert ours.any() and not ours[3].any()
    np.testing.assert_allclose(ours, zeroed.reshape(len(zeroed), -1), atol=1e-5)
