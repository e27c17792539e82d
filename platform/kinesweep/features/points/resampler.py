"""Resampling of points to another frame rate, linear in time.

The first frame stays at time 0, and target frame k shows the time k / target rate. A clip of T
frames lasts T / rate seconds and becomes round(T · target rate / rate) frames, at least 1 (of none,
none), halves rounded up. Two resampled versions of one motion x(t) from rates with frame distances
h₁ and h₂ differ by at most (h₁² + h₂²) / 8 · max|x''|. After the last frame of the file, for less
than one frame distance, its position is held. Linear interpolation has no low-pass filter of its
own: `features.smooth`, applied before, is the one against aliasing.

Shapes: T frames of the file, R resampled frames, J points, C coordinates.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError

# Relative difference of two rates, and distance to a frame in frame distances, that count as none:
# `.pose` files store the rate as float32, whose rounding error is 6e-8.
_EXACT = 1e-6
# Rates of less than 1/40 of the target (0.6 for 25 frames per second) stand only in damaged
# headers; resampling such files could fill the memory.
_MAX_UPSAMPLING = 40


def count_resampled_frames(num_frames: int, fps: float, target_fps: float) -> int:
    """Count the frames of a clip after resampling: its duration times the target rate, rounded.

    Args:
        num_frames: Number of frames of the file.
        fps: Frame rate of the file in frames per second.
        target_fps: Frame rate after resampling.

    Raises:
        ClipError: If the rate of the file is not a positive number, or less than 1/40 of the target
            rate; reason `implausible_rate`.
    """
    if not (math.isfinite(fps) and fps * _MAX_UPSAMPLING >= target_fps):
        raise ClipError(
            f"the file states {fps:g} frames per second, too few to resample it to {target_fps:g}"
            " (`features.fps`); correct the rate of the file, or leave `features.fps` out",
            "implausible_rate",
        )
    if _are_equal_rates(fps, target_fps) or not num_frames:
        return num_frames
    # Not `round`, which rounds halves to even; the tolerance keeps 2.5 - 4e-16 a half.
    return max(1, math.floor(num_frames * target_fps / fps + 0.5 + _EXACT))


def resample_points(
    x_TJC: NDArray[np.float32],
    confidence_TJ: NDArray[np.float32],
    fps: float,
    target_fps: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Resample points and their confidence to another frame rate, linear in time.

    A resampled point is detected only if every frame that contributes to it detected the point: the
    two neighbors in time, or one frame if the target time is exactly that of the frame. Its
    confidence is interpolated as well. Undetected points become 0.

    Args:
        x_TJC: Points; undefined where the confidence is 0.
        confidence_TJ: Confidence; 0 where a point was not detected.
        fps: Frame rate of the points in frames per second.
        target_fps: Frame rate after resampling.

    Returns:
        Points, (R, J, C), and confidence, (R, J); the arguments themselves if the rates are equal
        or there are no frames.

    Raises:
        ClipError: If the rate of the points is implausible; reason `implausible_rate`.
    """
    num_resampled = count_resampled_frames(len(x_TJC), fps, target_fps)
    if _are_equal_rates(fps, target_fps) or not num_resampled:
        return x_TJC, confidence_TJ
    # In frames of the file; times after its last frame take that frame.
    position_R = np.minimum(np.arange(num_resampled) * (fps / target_fps), len(x_TJC) - 1)
    # A time that misses a frame by rounding errors only must not need the next frame as well.
    # The error of a stored rate adds up over the frames.
    nearest_R, tolerance_R = np.rint(position_R), _EXACT * (1 + position_R)
    position_R = np.where(abs(position_R - nearest_R) < tolerance_R, nearest_R, position_R)
    before_R = np.floor(position_R).astype(np.intp)
    after_R = np.ceil(position_R).astype(np.intp)
    weight_R = (position_R - before_R).astype(np.float32)
    confidence_RJ = _interpolate(confidence_TJ, before_R, after_R, weight_R[:, None])
    detected_RJ = (confidence_TJ[before_R] > 0) & (confidence_TJ[after_R] > 0)
    x_RJC = _interpolate(x_TJC, before_R, after_R, weight_R[:, None, None])
    # Overwrites what undefined coordinates, which may be NaN, have contributed.
    x_RJC[~detected_RJ] = 0
    confidence_RJ[~detected_RJ] = 0
    return x_RJC, confidence_RJ


def _are_equal_rates(fps: float, target_fps: float) -> bool:
    """Return whether two frame rates are equal up to the precision of stored rates."""
    return abs(fps - target_fps) <= _EXACT * target_fps


def _interpolate(
    values: NDArray[np.float32],
    before_R: NDArray[np.intp],
    after_R: NDArray[np.intp],
    weight: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Interpolate values between two frames each; equal values stay exactly equal.

    Args:
        values: Values by frame.
        before_R: Frame before each target time.
        after_R: Frame after each target time, or the same frame.
        weight: Weight of the frame after it, in [0, 1), with the axes of the values.
    """
    first = values[before_R]
    result: NDArray[np.float32] = first + weight * (values[after_R] - first)
    return result
