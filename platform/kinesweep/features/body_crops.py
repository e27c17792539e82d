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

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.features.signer_crop import SignerCropConfig
from kinesweep.config.recipe.video import CropName
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.image_squares import crop_square, resize_square
from kinesweep.features.signer_crop.body_parts import find_part_points
from kinesweep.features.signer_crop.segment_poses import MAX_GAP_S, SegmentPoses
from kinesweep.features.signer_crop.signer_squares import SignerSquares
from kinesweep.sources.video.frame_reader import FrameReader

# Increase this when the crops of unchanged files change.
CROPS_VERSION = 1
# Side of a square relative to the extent of its points, which end at finger tips and hair line.
CROP_MARGIN = 1.4
# Pixels; a part with a single detected point has no extent.
MIN_SIDE_PX = 8


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
    point_indices = find_part_points(pose.layout, part)
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
        signer_crop: Square around the signer that stands for the whole frame; None: there is none.

    Attributes:
        fps: Frames per second of the video.
        num_frames: Number of frames, judged by the header or time stamps.

    Raises:
        ClipError: If the video or its poses cannot be opened, the span is outside of them, the
            `.pose` file declares no frame size, or the layout of the poses lacks a part. With
            reason `no_signer`, also while iterating, if the signer is not found.
    """

    def __init__(
        self,
        segment: VideoSegment,
        crops: Sequence[CropName],
        size: int,
        signer_crop: SignerCropConfig | None = None,
    ) -> None:
        self._frames = FrameReader(segment, None)
        self.fps, self.num_frames = self._frames.fps, self._frames.num_frames
        self._size, self._crops = size, tuple(crops)
        self._poses: SegmentPoses | None = None
        self._crop_boxes: dict[str, CropBoxes] = {}
        if segment.pose_path is not None:
            self._poses = poses = SegmentPoses(segment.pose_path, self._frames)
            self._crop_boxes = {
                part: find_crop_boxes(poses.pose, part, poses.scale)
                for part in crops
                if part != "whole"
            }
        self._signer: SignerSquares | None = None
        if signer_crop is not None:
            self._signer = SignerSquares(segment, self._frames, self._poses, signer_crop)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the cropped frames as RGB arrays, uint8 (size, number of crops · size, 3).

        Raises:
            ClipError: If the video cannot be decoded to the end of the span, or its poses end too
                early; reason `pose_too_short`.
        """
        if self._signer is not None:
            self._signer.find()
        for frame_index, image in enumerate(self._frames, self._frames.start):
            crops = [self._crop_part(part, image, frame_index) for part in self._crops]
            yield np.concatenate(crops, axis=1)

    def verify_files(self) -> None:
        """Check without decoding that the video and its poses hold all frames of the segment.

        Raises:
            ClipError: With the reasons of `FrameReader.verify_files`, or `pose_too_short`.
        """
        self._frames.verify_files()
        if self._poses is not None:
            self._poses.get_index(self._frames.end - 1)

    def _crop_part(
        self, part: str, image: NDArray[np.uint8], frame_index: int
    ) -> NDArray[np.uint8]:
        """Crop one part from a video frame and resize it, (size, size, 3).

        Args:
            part: Name of the part; `whole` is the square around the signer, or else the center
                square of the frame.
            image: Video frame, uint8 RGB.
            frame_index: Index of the frame, counted from the start of the file.
        """
        if part != "whole":
            assert self._poses is not None, "a recipe with crops has a source with poses"
            pose_index = self._poses.get_index(frame_index)
            return self._crop_boxes[part].crop_image(image, pose_index, self._size)
        if self._signer is not None:
            left, top, side = self._signer.get_square(frame_index)
            return resize_square(crop_square(image, left, top, side), self._size)
        height, width = image.shape[:2]
        side = min(height, width)
        center_square = crop_square(image, (width - side) // 2, (height - side) // 2, side)
        return resize_square(center_square, self._size)


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
