"""Crops: where squares lie, what stands in for a part that was not found, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from films import pictures, write_pictures, write_video
from kinesweep.config.recipe.video import CropName
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.body_crops import CROP_MARGIN, CroppedFrames, find_crop_boxes
from vision import follow_block

FPS = 10.0
PARTS: tuple[CropName, ...] = ("face", "left_hand", "right_hand")
LAYOUT = PointLayout((("POSE_LANDMARKS", ("NOSE",)), ("LEFT_HAND_LANDMARKS", ("a", "b"))))


def hand(middles: list[float | None], extents: list[float]) -> PoseSequence:
    """A left hand of two points, `extent` wide and half as high, at (middle, 50); None: not found.

    The nose lies elsewhere, and a point that was not found holds no number.
    """
    points = np.full((len(middles), 1, 3, 3), np.nan, np.float32)
    confidence = np.zeros((len(middles), 1, 3), np.float32)
    points[:, :, 0], confidence[:, :, 0] = 999, 1
    for number, (middle, extent) in enumerate(zip(middles, extents, strict=True)):
        if middle is not None:
            for point, side in ((1, -1), (2, 1)):
                own = (middle + side * extent / 2, 50 + side * extent / 4, 0)
                points[number, 0, point], confidence[number, 0, point] = own, 1
    return PoseSequence(points, confidence, FPS, LAYOUT)


def test_one_side_a_clip_and_the_middle_of_each_frame() -> None:
    found = find_crop_boxes(hand([100, 110, 120], [20, 40, 20]), "left_hand", (1, 1))
    assert found.side == CROP_MARGIN * 20 == 28
    np.testing.assert_array_equal(found.corners_T2, [[86, 36], [96, 36], [106, 36]])


def test_points_are_scaled_to_the_size_of_the_film() -> None:
    found = find_crop_boxes(hand([100], [20]), "left_hand", (2, 6))
    assert found.side == 84  # of 1.4 times the larger of 20 · 2 and 10 · 6
    np.testing.assert_array_equal(found.corners_T2, [[200 - 42, 300 - 42]])


def test_the_nearest_frame_within_half_a_second_stands_in() -> None:
    middles: list[float | None] = [None] * 20
    middles[6], middles[10] = 30, 80
    found = find_crop_boxes(hand(middles, [20] * 20), "left_hand", (1, 1))
    assert list(np.flatnonzero(found.valid_T)) == list(range(1, 16))
    at = found.corners_T2[1:16, 0] + 14
    np.testing.assert_array_equal(at, [30] * 8 + [80] * 7)  # frame 8 is as far from both


def test_beyond_the_edge_and_unknown_is_black() -> None:
    picture = np.full((60, 100, 3), 200, np.uint8)
    found = find_crop_boxes(hand([0, *[None] * 9, 500], [20] * 11), "left_hand", (1, 1))
    edge, unknown, outside = (found.crop_image(picture, number, 28) for number in (0, 10, 10))
    assert not edge[:, :14].any() and (edge[:24, 14:] == 200).all() and not edge[24:].any()
    assert not unknown.any() and not outside.any()
    nobody = find_crop_boxes(hand([None, None], [20, 20]), "left_hand", (1, 1))
    assert not nobody.crop_image(picture, 1, 16).any()


def test_other_layouts_are_refused() -> None:
    with pytest.raises(ClipError, match=r"`face`, which needs `FACE_LANDMARKS`") as caught:
        find_crop_boxes(hand([1], [20]), "face", (1, 1))
    assert caught.value.reason == "unknown_layout"


def crops_of(footage: VideoSegment, size: int = 16) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack(list(CroppedFrames(footage, PARTS, size)))


def test_parts_stand_side_by_side(tmp_path: Path) -> None:
    """Pictures have no losses, and a square of the model's size is not scaled."""
    folder = write_pictures(tmp_path / "a", 12)
    pose = follow_block(tmp_path / "a.pose", 12)
    found = crops_of(VideoSegment(folder, fps=25, pose_path=pose))
    wide = [np.pad(picture, ((16, 16), (16, 16), (0, 0))) for picture in pictures(12)]
    for number, picture in enumerate(wide):
        corners = [(20, 12 + 2 * number), (20, 22 + 2 * number), (30, 12 + 2 * number)]
        parts = [picture[top : top + 16, left : left + 16] for top, left in corners]
        np.testing.assert_array_equal(found[number], np.concatenate(parts, axis=1))
    assert len({part.tobytes() for part in found[5].reshape(16, 3, 16, 3).swapaxes(0, 1)}) == 3
    scaled = crops_of(VideoSegment(folder, fps=25, pose_path=pose), 8)
    assert scaled.shape == (12, 8, 24, 3)
    assert abs(float(scaled.mean()) - float(found.mean())) < 10


@pytest.mark.parametrize("span", [Span.from_frames(4, 9), Span.from_ms(160, 360)])
def test_a_span_has_the_poses_of_its_own_frames(tmp_path: Path, span: Span) -> None:
    folder = write_pictures(tmp_path / "a", 12)
    pose = follow_block(tmp_path / "a.pose", 12)
    whole = crops_of(VideoSegment(folder, fps=25, pose_path=pose))
    part = crops_of(VideoSegment(folder, span, 25, pose))
    np.testing.assert_array_equal(part, whole[4:9])


def test_whole_frames_may_stand_beside_parts(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", 12)
    pose = follow_block(tmp_path / "a.pose", 12)
    (first, *_) = CroppedFrames(VideoSegment(folder, fps=25, pose_path=pose), ("whole", "face"), 48)
    np.testing.assert_array_equal(first[:, :48], pictures(1)[0][:, 8:56])
    assert first.shape == (48, 96, 3)


def test_poses_at_half_the_rate_are_met_in_time(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", 12)
    every = crops_of(VideoSegment(folder, fps=25, pose_path=follow_block(tmp_path / "a.pose", 12)))
    half = follow_block(tmp_path / "b.pose", 12, step=2)
    np.testing.assert_array_equal(
        crops_of(VideoSegment(folder, fps=25, pose_path=half))[::2], every[::2]
    )


def test_poses_of_another_video_are_refused(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", 40)
    near = follow_block(tmp_path / "near.pose", 30)
    assert len(crops_of(VideoSegment(film, pose_path=near))) == 40
    far = follow_block(tmp_path / "far.pose", 20)
    with pytest.raises(ClipError, match="ends after 20 frames at 25 fps, but frame 33") as caught:
        crops_of(VideoSegment(film, pose_path=far))
    assert caught.value.reason == "pose_too_short"


def test_poses_without_a_picture_s_size_are_refused(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", 4)
    pose = follow_block(tmp_path / "a.pose", 4, size=(0, 0))
    with pytest.raises(ClipError, match="frame size of 0 × 0") as caught:
        crops_of(VideoSegment(film, pose_path=pose))
    assert caught.value.reason == "no_picture_size"
