"""What is counted in the poses of a clip: parts, frozen points, zeros, thirds like confidences.

Component and point names are those of pose-format's headers: MediaPipe Holistic, OpenPose (137
points, and BODY_135), AlphaPose (133, 136) and COCO WholeBody.
"""

from typing import Any

import numpy as np
import pytest

from kinesweep.core.clip import Clip
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import SKELETONS
from kinesweep.features.quality.corpus_findings import find_quality_warnings
from kinesweep.features.quality.media_statistics import (
    MIN_CONSTANT_FRAMES,
    compute_media_statistics,
    find_body_parts,
)
from kinesweep.features.quality.split_quality import build_quality_rows, compute_quality
from kinesweep.sources.base import SkeletonMotion

THREE = PointLayout((("POSE_LANDMARKS", ("NOSE", "CHIN")), ("LEFT_HAND_LANDMARKS", ("WRIST",))))


def pose(frames: int = 20, layout: PointLayout = THREE, num_dims: int = 3, **values: Any) -> Any:
    x_TPJC = np.random.default_rng(0).normal(size=(frames, 1, layout.num_points, num_dims))
    ones = np.ones(x_TPJC.shape[:3], np.float32)
    return PoseSequence(x_TPJC.astype(np.float32), ones, 25.0, layout, **values)


def layout_of(**sizes: int) -> PointLayout:
    return PointLayout(tuple((name, tuple(map(str, range(size)))) for name, size in sizes.items()))


@pytest.mark.parametrize(
    ("layout", "sizes"),
    [
        (
            layout_of(
                POSE_LANDMARKS=33,
                FACE_LANDMARKS=468,
                LEFT_HAND_LANDMARKS=21,
                RIGHT_HAND_LANDMARKS=21,
                POSE_WORLD_LANDMARKS=33,
            ),
            {"body": 33, "face": 468, "left_hand": 21, "right_hand": 21},
        ),
        (
            layout_of(
                pose_keypoints_2d=25,
                face_keypoints_2d=70,
                hand_left_keypoints_2d=21,
                hand_right_keypoints_2d=21,
            ),
            {"body": 25, "face": 70, "left_hand": 21, "right_hand": 21},
        ),
        *(
            (
                layout_of(
                    **{
                        f"BODY_{number}": body,
                        f"FACE_{number}": 68,
                        f"LEFT_HAND_{number}": 21,
                        f"RIGHT_HAND_{number}": 21,
                    }
                ),
                {"body": body, "face": 68, "left_hand": 21, "right_hand": 21},
            )
            for number, body in ((133, 23), (136, 26))
        ),
        (
            SKELETONS["coco_wholebody_133"].layout,
            {"body": 23, "face": 68, "left_hand": 21, "right_hand": 21},
        ),
        (SKELETONS["smpl_22"].layout, {"body": 22}),
        (layout_of(OBJECT=3), {}),
    ],
)
def test_parts_are_found_by_the_names_of_components(
    layout: PointLayout, sizes: dict[str, int]
) -> None:
    assert {part: len(indices) for part, indices in find_body_parts(layout).items()} == sizes


def test_parts_of_openpose_s_body_135_are_found_by_the_names_of_points() -> None:
    from pose_format.utils.openpose_135 import BODY_135_POINTS

    layout = PointLayout((("BODY_135", tuple(BODY_135_POINTS)),))
    sizes = {part: len(indices) for part, indices in find_body_parts(layout).items()}
    assert sizes == {"body": 25, "face": 70, "left_hand": 20, "right_hand": 20}


def test_a_part_counts_in_frames_in_which_a_point_is_detected() -> None:
    made = pose()
    made.confidence_TPJ[:15, :, 2] = 0
    made.confidence_TPJ[:5, :, :2] = 0
    made.confidence_TPJ[10, :, 0] = 0  # the other point of the body is still there
    found = compute_media_statistics(made)
    assert found is not None
    assert found.frames_with == {"person": 15, "body": 15, "left_hand": 5}
    assert (found.num_frames, found.num_detections) == (20, 2 * 15 - 1 + 5)


def test_frozen_points_are_counted_also_where_they_are_detected_in_some_frames_only() -> None:
    made = pose()
    made.points_TPJC[:, :, 1] = 4.0
    made.points_TPJC[3:15, :, 2] = 7.0
    made.confidence_TPJ[:3, :, 2] = made.confidence_TPJ[15:, :, 2] = 0
    found = compute_media_statistics(made)
    assert found is not None and found.num_constant_points == 2
    made.points_TPJC[9, :, 1, 0] = 4.1
    assert compute_media_statistics(made).num_constant_points == 1  # type: ignore[union-attr]


def test_few_frames_prove_no_frozen_point() -> None:
    for frames, count in ((MIN_CONSTANT_FRAMES - 1, 0), (MIN_CONSTANT_FRAMES, 1)):
        made = pose(frames)
        made.points_TPJC[:, :, 0] = 1.0
        assert compute_media_statistics(made).num_constant_points == count  # type: ignore[union-attr]


def test_zeros_count_unless_they_are_the_root_or_not_detected() -> None:
    made = pose()
    made.points_TPJC[:, :, 0] = 0  # the root of a centered motion
    made.points_TPJC[4:6, :, 1] = 0
    made.points_TPJC[8, :, 2] = 0
    made.confidence_TPJ[8, :, 2] = 0
    made.points_TPJC[9, :, 2, 0] = 0  # on an axis, not at the origin
    found = compute_media_statistics(made)
    assert found is not None and (found.num_zeros, found.num_constant_points) == (2, 0)


@pytest.mark.parametrize(
    ("third", "alike"),
    [
        (np.full(20, 0.9), True),
        (np.linspace(0, 1, 20), True),
        (np.linspace(-0.1, 1, 20), False),
        (np.linspace(0, 3, 20), False),
        (np.linspace(0, 0.1, 20), False),
        (np.zeros(20), False),
    ],
)
def test_a_third_value_between_0_and_1_looks_like_a_confidence(third: Any, alike: bool) -> None:
    made = pose(has_confidence=False)
    made.points_TPJC[..., 2] = third[:, None, None]
    found = compute_media_statistics(SkeletonMotion(made))
    assert found is not None and found.has_third_in_unit_range is alike
    kinds = [w.kind for w in find_quality_warnings([(Clip("a", "train", "a.npy"), found)])]
    assert kinds.count("third_looks_like_confidence") == alike


def test_nothing_is_known_about_detection_without_confidences() -> None:
    found = compute_media_statistics(pose(has_confidence=False))
    assert found is not None
    quality = compute_quality([(Clip("a", "train", "a.npy"), found)])
    assert quality["train"].detection == {}
    header, row = build_quality_rows(quality)
    assert dict(zip(header, row, strict=True))["person"] == "n/a"


def test_media_without_points_have_no_statistics() -> None:
    assert compute_media_statistics(object()) is None
