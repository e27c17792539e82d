"""The squares of a video segment: boxes are found when they are first needed.

Boxes come from poses, which are read at once, or from a detector, which decodes the segment a first
time; its results are kept on disk (`detection_cache`).

Shapes: T frames, J points; a box is left, top, right, bottom.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.features.signer_crop import SignerCropConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.keypoint_selection import find_upper_body_points
from kinesweep.features.signer_crop.body_parts import find_part_points
from kinesweep.features.signer_crop.segment_poses import SegmentPoses
from kinesweep.features.signer_crop.squares import (
    CropSquares,
    FoundBoxes,
    compute_center_square,
    compute_squares,
)
from kinesweep.sources.video.frame_reader import FrameReader

# Increase this when the squares of unchanged files change.
SIGNER_CROP_VERSION = 1
NO_SIGNER = "no_signer"
"""Reason of clips without a signer, and kind of the warning about them."""


class SignerSquares:
    """The square around the signer in each frame of a segment.

    Args:
        segment: Video file, time span and, without a detector, pose file.
        frames: Reader of the segment.
        poses: Poses of the segment; None with a detector.
        config: Crop.

    Raises:
        ClipError: With reason `no_signer`, or a reason of poses; with a detector by `find`.
    """

    def __init__(
        self,
        segment: VideoSegment,
        frames: FrameReader,
        poses: SegmentPoses | None,
        config: SignerCropConfig,
    ) -> None:
        self._segment, self._frames, self._config = segment, frames, config
        self._squares: CropSquares | None = None
        self.is_found = True
        if config.detector is None:
            assert poses is not None, "a recipe with a crop by poses has a source with poses"
            # Poses are read in milliseconds, so a clip without a signer is reported before it is
            # decoded.
            self._set_squares(_find_pose_boxes(poses, frames, config))

    def find(self) -> None:
        """Find the squares, unless they are known.

        Raises:
            ClipError: If the segment cannot be decoded, or with reason `no_signer`.
        """
        if self._squares is None:
            # Loads PyTorch, which crops by poses do not need.
            from kinesweep.features.signer_crop.detection import detect_signer

            assert self._config.detector is not None
            self._set_squares(detect_signer(self._segment, self._frames, self._config.detector))

    def get_square(self, frame_index: int) -> tuple[int, int, int]:
        """Return left edge, top edge and side of the square of a frame, in pixels.

        Args:
            frame_index: Index of the frame, counted from the start of the file.
        """
        assert self._squares is not None
        corners_T2 = self._squares.corners_T2
        # A fixed square has one row for all frames.
        row = min(frame_index - self._frames.start, len(corners_T2) - 1)
        left, top = map(int, corners_T2[row])
        return left, top, self._squares.side

    def _set_squares(self, found: FoundBoxes) -> None:
        """Set the squares that boxes give, or those of a clip without a signer.

        Raises:
            ClipError: With reason `no_signer`.
        """
        self._squares = compute_squares(found, self._config)
        if self._squares is not None:
            return
        self.is_found = False
        if self._config.missing == "drop":
            num_found = int(found.find_valid().sum())
            raise ClipError(
                f"no signer was found in `{self._segment.path}`: in {num_found} of"
                f" {len(found.boxes_N4)} frames, of which `features.crop.min_found` asks for"
                f" {self._config.min_found:.0%}; `features.crop.missing` can keep such clips",
                NO_SIGNER,
            )
        # Half of the shorter side, as in SSVP-SLT.
        share = 1.0 if self._config.missing == "whole" else 0.5
        self._squares = compute_center_square(self._frames.height, self._frames.width, share)


def _find_pose_boxes(
    poses: SegmentPoses, frames: FrameReader, config: SignerCropConfig
) -> FoundBoxes:
    """Find the box around the points of the first person in each frame of a segment.

    Raises:
        ClipError: With reason `unknown_layout` or `pose_too_short`.
    """
    layout = poses.pose.layout
    if config.points == "all":
        indices = np.arange(layout.num_points)
    elif config.points == "face":
        indices = find_part_points(layout, "face")
    else:
        indices = find_upper_body_points(layout)
    detected_TJ = poses.pose.confidence_TPJ[:, 0, indices] > 0
    # Estimators place points outside of the frame that they only guess.
    size = np.array([frames.width, frames.height], np.float64)
    points_TJ2 = (poses.pose.points_TPJC[:, 0, indices, :2] * np.array(poses.scale)).clip(0, size)
    boxes_T4 = _bound_points(points_TJ2, detected_TJ)
    # Poses may have another rate than the video, so each frame takes the nearest pose.
    pose_indices = [poses.get_index(index) for index in range(frames.start, frames.end)]
    return FoundBoxes(
        boxes_T4[pose_indices],
        np.arange(len(pose_indices)),
        len(pose_indices),
        frames.fps,
        frames.height,
        frames.width,
    )


def _bound_points(
    points_TJ2: NDArray[np.float64], detected_TJ: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the box around the detected points of each frame, (T, 4), NaN without any."""
    mask = detected_TJ[..., None]
    boxes_T4 = np.concatenate(
        [
            # Infinity never is the smallest value, and remains where no point was detected.
            np.where(mask, points_TJ2, np.inf).min(axis=1),
            np.where(mask, points_TJ2, -np.inf).max(axis=1),
        ],
        axis=1,
    )
    return np.where(np.isfinite(boxes_T4), boxes_T4, np.nan)
