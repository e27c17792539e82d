"""Which points tell that a clip is upside down."""

import numpy as np
import pytest

from kinesweep.report.pose_scene import _HEAD_PATTERN, _is_upside_down


@pytest.mark.parametrize(
    ("name", "is_head"),
    [
        ("LEFT_EAR", True),
        ("left_ear", True),
        ("leftEar", True),
        ("HEAD_TOP", True),
        ("left_forearm", False),
        ("LeftForeArm", False),
        ("FOREARM_TWIST", False),
        ("left_elbow", False),
    ],
)
def test_points_of_the_head(name: str, is_head: bool) -> None:
    assert (_HEAD_PATTERN.search(name) is not None) == is_head


def test_hanging_forearms_do_not_turn_a_clip() -> None:
    """Bodies of SMPL-X and of motion capture name the forearm; y points down."""
    names = [("BODY", name) for name in ("head", "left_forearm", "right_forearm", "left_hip")]
    points_TJC = np.zeros((3, 4, 2), np.float32)
    points_TJC[..., 1] = [0.0, 5.0, 5.0, 2.0]
    assert not _is_upside_down(points_TJC, np.ones((3, 4), bool), names)
