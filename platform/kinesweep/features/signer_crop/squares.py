"""The square of a clip, or of each of its frames, from boxes around the signer: pure geometry.

Shapes: N frames that were looked at, T frames of the clip; a box is left, top, right, bottom.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.features.signer_crop import BoxExpansionConfig, SignerCropConfig

MIN_SIDE_PX = 8
"""Least side of a square; the face of a distant person may have a single detected point."""


@dataclass(frozen=True)
class FoundBoxes:
    """The boxes around the signer in the frames that were looked at.

    Attributes:
        boxes_N4: Boxes in pixels, NaN where the signer was not found.
        frames_N: Index of each frame in the clip, increasing.
        num_frames: Number of frames of the clip, T.
        fps: Frames per second.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
    """

    boxes_N4: NDArray[np.float64]
    frames_N: NDArray[np.intp]
    num_frames: int
    fps: float
    height: int
    width: int

    def find_valid(self) -> NDArray[np.bool_]:
        """Return the mask of the frames in which the signer was found, (N,)."""
        return np.asarray(np.isfinite(self.boxes_N4).all(axis=1))


@dataclass(frozen=True)
class CropSquares:
    """The square of each frame of a clip, all of the same size.

    Attributes:
        corners_T2: Left and top edge in pixels, which may lie outside of the frame; (1, 2) if all
            frames have the same square.
        side: Side in pixels.
    """

    corners_T2: NDArray[np.intp]
    side: int


def compute_squares(found: FoundBoxes, config: SignerCropConfig) -> CropSquares | None:
    """Compute the square around the signer in each frame of a clip.

    Returns:
        The squares; None if the signer was found in too few frames.
    """
    found_N = found.find_valid()
    # At least one box, even if `min_found` is 0.
    if found_N.sum() < max(1, config.min_found * len(found_N)):
        return None
    boxes_N4 = found.boxes_N4[found_N]
    if config.movement == "fixed":
        box_14 = _combine_boxes(boxes_N4, config)[None]
        centers_T2, sides_N = _make_squares(box_14, config.expand)
        return _place(centers_T2, float(sides_N[0]), found, config)
    centers_N2, sides_N = _make_squares(boxes_N4, config.expand)
    # One side for all frames: a size that follows the boxes would look like zooming.
    side = float(_combine(sides_N, config, 1 - config.outliers))
    frames_T, frames_N = np.arange(found.num_frames), found.frames_N[found_N]
    # Linear in time between frames with a box, and held at both ends.
    centers_T2 = np.stack([np.interp(frames_T, frames_N, axis) for axis in centers_N2.T], axis=1)
    half_window = round(config.window_s * found.fps / 2)
    return _place(_compute_moving_median(centers_T2, half_window), side, found, config)


def compute_center_square(height: int, width: int, share: float) -> CropSquares:
    """Compute the square in the middle of a frame whose side is a share of its shorter side."""
    side = max(1, int(min(height, width) * share))
    return CropSquares(np.array([[(width - side) // 2, (height - side) // 2]], np.intp), side)


def _combine(
    values_N: NDArray[np.float64], config: SignerCropConfig, quantile: float
) -> NDArray[np.float64]:
    """Combine one value per frame, along the first axis, as `over_frames` says.

    Args:
        values_N: Values of the frames with a box.
        config: Crop.
        quantile: Quantile that stands for the union without outliers.
    """
    if config.over_frames == "union":
        return np.asarray(np.quantile(values_N, quantile, axis=0))
    combine = np.median if config.over_frames == "median" else np.mean
    return np.asarray(combine(values_N, axis=0))


def _combine_boxes(boxes_N4: NDArray[np.float64], config: SignerCropConfig) -> NDArray[np.float64]:
    """Combine the boxes of frames into one box, (4,)."""
    return np.concatenate(
        [
            _combine(boxes_N4[:, :2], config, config.outliers),
            _combine(boxes_N4[:, 2:], config, 1 - config.outliers),
        ]
    )


def _make_squares(
    boxes_N4: NDArray[np.float64], expand: BoxExpansionConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Enlarge boxes and extend them to squares; return their centers (N, 2) and sides (N,)."""
    sizes_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
    top_left_N2 = boxes_N4[:, :2] - sizes_N2 * (expand.left, expand.up)
    bottom_right_N2 = boxes_N4[:, 2:] + sizes_N2 * (expand.right, expand.down)
    # The longer side of the box: a square must not cut off what the box surrounds.
    return (top_left_N2 + bottom_right_N2) / 2, (bottom_right_N2 - top_left_N2).max(axis=1)


def _compute_moving_median(values_T2: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Compute the median of each value and the `half` values before and after it."""
    return np.stack(
        [
            np.median(values_T2[max(0, index - half) : index + half + 1], axis=0)
            for index in range(len(values_T2))
        ]
    )


def _place(
    centers_T2: NDArray[np.float64], side: float, found: FoundBoxes, config: SignerCropConfig
) -> CropSquares:
    """Place squares of a side around centers, in whole pixels."""
    # Rounding by floor(x + 0.5) avoids banker's rounding, by which equal movements would end on
    # different pixels.
    side_px = max(MIN_SIDE_PX, int(side + 0.5))
    if config.outside == "shift":
        # A larger square cannot be shifted into the frame.
        side_px = min(side_px, found.height, found.width)
    corners_T2 = np.floor(centers_T2 - side_px / 2 + 0.5).astype(np.intp)
    if config.outside == "shift":
        corners_T2 = corners_T2.clip(0, (found.width - side_px, found.height - side_px))
    return CropSquares(corners_T2, side_px)
