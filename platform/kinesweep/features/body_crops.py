"""Body crops: cut face and hands out of video frames at the positions given by poses.

From a video segment and its `.pose` file it makes frames with the selected body parts side by side,
each a square of the model's size. The side of a square is constant within a clip, 1.4 times the
median extent of the part's points, so that the scale does not jump; the square follows the center
of the detected points. A frame without a detection uses the square of the nearest frame within half
a second, the earlier of two; if there is none, the part is black. Only the first person is used.
Frames are decoded at full resolution: 14 ms for three parts of a 1280 × 720 frame, 8 ms if scaled.

Shapes: T frames of the poses, J points, P people, C coordinates; images are H × W pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.video import CropName
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.image_squares import crop_square, resize_square
from kinesweep.sources.pose_format.pose_file import read_frame_size, read_pose
from kinesweep.sources.video.frame_reader import FrameReader

# Increase this when the crops of unchanged files change.
CROPS_VERSION = 1
# Side of a square relative to the extent of its points, which end at finger tips and hair line.
CROP_MARGIN = 1.4
# Seconds up to which a neighboring detection or a missing end of the poses is bridged.
MAX_GAP_S = 0.5
# Pixels; a part with a single detected point has no extent.
MIN_SIDE_PX = 8
# Rates that differ by less count as equal, because `.pose` v0.1 stores whole frames per second.
_SAME_RATE_HZ = 1.0
# Body part → its component names for MediaPipe and OpenPose in pose-format's layouts.
_COMPONENTS: dict[str, tuple[str, ...]] = {
    "face": ("FACE_LANDMARKS", "face_keypoints_2d"),
    "left_hand": ("LEFT_HAND_LANDMARKS", "hand_left_keypoints_2d"),
    "right_hand": ("RIGHT_HAND_LANDMARKS", "hand_right_keypoints_2d"),
}


@dataclass(frozen=True)
class CropBoxes:
    """The crop boxes of a body part, one for each frame of the poses.

    Attributes:
        corners_T2: Left and top edge in pixels; they may lie outside of the image.
        side: Side length of all boxes in pixels.
        valid_T: Mask of the frames in which the position of the part is known.
    """

    corners_T2: NDArray[np.intp]
    side: int
    valid_T: NDArray[np.bool_]

    def crop_image(
        self, image_HW3: NDArray[np.uint8], frame_index: int, size: int
    ) -> NDArray[np.uint8]:
        """Crop the part from an image; pixels outside of the image are black.

        Args:
            image_HW3: Image, uint8 RGB.
            frame_index: Index of the pose frame that belongs to the image.
            size: Height and width of the result in pixels.

        Returns:
            The crop, uint8 RGB (size, size, 3); all black if the position of the part is unknown.
        """
        if not self.valid_T[frame_index]:
            return np.zeros((size, size, 3), np.uint8)
        left, top = map(int, self.corners_T2[frame_index])
        return resize_square(crop_square(image_HW3, left, top, self.side), size)


def find_crop_boxes(pose: PoseSequence, part: str, scale: tuple[float, float]) -> CropBoxes:
    """Find the crop box of a body part in each frame of a pose sequence.

    Args:
        pose: Pose sequence; the first person is used.
        part: Name of the part, `face`, `left_hand` or `right_hand`.
        scale: Pixels of the video per unit of the x and of the y coordinate.

    Raises:
        ClipError: If the layout does not contain the part; reason `unknown_layout`.
    """
    point_indices = _find_part_points(pose.layout, part)
    points_TJ2 = pose.points_TPJC[:, 0, point_indices, :2] * np.array(scale)
    detected_TJ = pose.confidence_TPJ[:, 0, point_indices] > 0
    detected_T: NDArray[np.bool_] = np.asarray(detected_TJ.any(1))
    # Undetected points are at infinity, so that they never win the minimum or maximum. Frames
    # without any detection stay infinite and are not used below.
    min_T2 = np.where(detected_TJ[..., None], points_TJ2, np.inf).min(1)
    max_T2 = np.where(detected_TJ[..., None], points_TJ2, -np.inf).max(1)
    if not detected_T.any():
        return CropBoxes(np.zeros((len(detected_T), 2), np.intp), MIN_SIDE_PX, detected_T)
    extent = float(np.median((max_T2 - min_T2)[detected_T].max(1)))
    # Rounding by floor(x + 0.5) here and below avoids banker's rounding, which would make equal
    # movements end on different pixels.
    side = max(MIN_SIDE_PX, int(CROP_MARGIN * extent + 0.5))
    nearest_T, valid_T = _find_nearest_detections(detected_T, int(MAX_GAP_S * pose.fps))
    centers_T2 = (min_T2[nearest_T] + max_T2[nearest_T]) / 2
    corners_T2 = np.floor(centers_T2 - side / 2 + 0.5).astype(np.intp)
    return CropBoxes(corners_T2, side, valid_T)


class CroppedFrames:
    """An iterable over the cropped frames of a video segment.

    Args:
        segment: Video file, time span and pose file.
        crops: Names of the body parts, from left to right.
        size: Height of the resulting frames and width of each part in pixels.

    Attributes:
        fps: Frames per second of the video.

    Raises:
        ClipError: If the video or its poses cannot be opened, the span is outside of them, the
            `.pose` file declares no frame size, or the layout of the poses lacks a part.
    """

    def __init__(self, segment: VideoSegment, crops: Sequence[CropName], size: int) -> None:
        assert segment.pose_path is not None, "a recipe with crops has a source with poses"
        self._frames = FrameReader(segment, None)
        self.fps = self._frames.fps
        self._pose_path, self._size, self._crops = segment.pose_path, size, tuple(crops)
        self._first_pose_frame, pose = self._read_poses(segment.pose_path)
        self._pose_fps, self._num_pose_frames = pose.fps, len(pose.points_TPJC)
        # Poses may have been estimated on a scaled copy of the video; the pose file records the
        # size of the frames that its coordinates refer to.
        width, height = read_frame_size(segment.pose_path)
        scale = self._frames.width / width, self._frames.height / height
        self._crop_boxes: dict[str, CropBoxes] = {
            part: find_crop_boxes(pose, part, scale) for part in crops if part != "whole"
        }

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the cropped frames as RGB arrays, uint8 (size, number of crops · size, 3).

        Raises:
            ClipError: If the video cannot be decoded to the end of the span, or its poses end too
                early; reason `pose_too_short`.
        """
        for frame_index, image in enumerate(self._frames, self._frames.start):
            pose_index = self._get_pose_index(frame_index)
            crops = [self._crop_part(part, image, pose_index) for part in self._crops]
            yield np.concatenate(crops, axis=1)

    def verify_files(self) -> None:
        """Check without decoding that the video and its poses hold all frames of the segment.

        Raises:
            ClipError: With the reasons of `FrameReader.verify_files`, or `pose_too_short`.
        """
        self._frames.verify_files()
        self._get_pose_index(self._frames.end - 1)

    def _crop_part(self, part: str, image: NDArray[np.uint8], pose_index: int) -> NDArray[np.uint8]:
        """Crop one part from a video frame and resize it, (size, size, 3).

        Args:
            part: Name of the part; `whole` is the center square of the frame.
            image: Video frame, uint8 RGB.
            pose_index: Index of the pose of the frame, counted from the start of the span.
        """
        if part != "whole":
            return self._crop_boxes[part].crop_image(image, pose_index, self._size)
        height, width = image.shape[:2]
        side = min(height, width)
        center_square = crop_square(image, (width - side) // 2, (height - side) // 2, side)
        return resize_square(center_square, self._size)

    def _read_poses(self, path: Path) -> tuple[int, PoseSequence]:
        """Read the poses of the segment's span from a `.pose` file.

        Returns:
            Index of the first pose frame in the file, and the poses of the span.

        Raises:
            ClipError: If the file cannot be read or does not contain the span.
        """
        # The rate of the poses is needed to convert the span, so one frame is read first.
        pose_fps = read_pose(path, Span.from_frames(0, 1)).fps
        first_frame = self._find_nearest_pose_frame(self._frames.start, pose_fps)
        last_frame = self._find_nearest_pose_frame(self._frames.end - 1, pose_fps)
        try:
            return first_frame, read_pose(path, Span.from_frames(first_frame, last_frame + 1))
        except ClipError as error:
            if error.reason != "span_cut":
                raise
        # `_get_pose_index` decides how much may be missing at the end.
        return first_frame, read_pose(path, Span.from_frames(first_frame, 0))

    def _get_pose_index(self, frame_index: int) -> int:
        """Return the index of the pose that belongs to a video frame.

        If less than half a second of the poses is missing at the end, the last pose is used.

        Args:
            frame_index: Index of the video frame, counted from the start of the file.

        Returns:
            Index of the pose, counted from the start of the span.

        Raises:
            ClipError: If half a second or more is missing; reason `pose_too_short`.
        """
        pose_index = (
            self._find_nearest_pose_frame(frame_index, self._pose_fps) - self._first_pose_frame
        )
        if pose_index - self._num_pose_frames >= MAX_GAP_S * self._pose_fps:
            num_frames = self._first_pose_frame + self._num_pose_frames
            raise ClipError(
                f"`{self._pose_path}` ends after {num_frames} frames at {self._pose_fps:g} fps, but"
                f" frame {frame_index} of its video at {self.fps:g} fps needs more; the file is of"
                " another video or is truncated: estimate the poses again",
                "pose_too_short",
            )
        return min(pose_index, self._num_pose_frames - 1)

    def _find_nearest_pose_frame(self, frame_index: int, pose_fps: float) -> int:
        """Find the index of the pose frame that is nearest in time to a frame of the video.

        Both indices count from the start of their file. Nearly equal rates count as equal.
        """
        is_same_rate = abs(pose_fps - self.fps) < _SAME_RATE_HZ
        return frame_index if is_same_rate else int(frame_index * pose_fps / self.fps + 0.5)


def _find_part_points(layout: PointLayout, part: str) -> NDArray[np.intp]:
    """Find the indices of a part's points in a layout.

    Raises:
        ClipError: If the layout does not contain the part; reason `unknown_layout`.
    """
    start = 0
    for name, points in layout.components:
        if name in _COMPONENTS[part] and points:
            return np.arange(start, start + len(points))
        start += len(points)
    components = ", ".join(f"{name} ({len(points)})" for name, points in layout.components)
    raise ClipError(
        f"the file has the point components {components}: `features.crops` has `{part}`, which"
        f" needs {' or '.join(f'`{name}`' for name in _COMPONENTS[part])}",
        "unknown_layout",
    )


def _find_nearest_detections(
    detected_T: NDArray[np.bool_], max_distance: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Find for each frame the nearest frame with a detection.

    Args:
        detected_T: Mask of the frames with a detection; at least one must be True.
        max_distance: Largest accepted distance in frames.

    Returns:
        For each frame, the index of the nearest frame with a detection, (T,), the earlier of two
        equally near ones, and whether it is at most `max_distance` away, (T,).
    """
    detected_frames = np.flatnonzero(detected_T)
    frames_T = np.arange(len(detected_T))
    after_T = np.searchsorted(detected_frames, frames_T).clip(max=len(detected_frames) - 1)
    before_T = (np.searchsorted(detected_frames, frames_T, side="right") - 1).clip(min=0)
    gap_after_T, gap_before_T = (
        abs(detected_frames[indices] - frames_T) for indices in (after_T, before_T)
    )
    # `<=` prefers the earlier one of two equally near frames.
    nearest_T = np.where(
        gap_before_T <= gap_after_T, detected_frames[before_T], detected_frames[after_T]
    )
    return nearest_T, np.minimum(gap_before_T, gap_after_T) <= max_distance
