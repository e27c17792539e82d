"""Preparation of points before normalization: smoothing, filling gaps, resampling to a common rate.

The points of one person come in at the rate of their file and go out at `features.fps`. Smoothing
comes first, so it also limits the bandwidth before frames are thinned out (from 60 to 25 frames per
second, a tremor of 20 Hz turns into one of 5 Hz; the default filter leaves 13 % of it). Gaps are
filled at the rate of the file too, between the detections themselves. Resampling comes before
normalization, so center and scale are means over equal steps of time at every rate. All are off by
default and then cost nothing.

Shapes: T frames, J points, C coordinates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import PointFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.features.points.jitter_filter import count_window_frames, smooth_points
from kinesweep.features.points.missing_points import interpolate_missing_points
from kinesweep.features.points.resampler import count_resampled_frames, resample_points

__all__ = [
    "compute_rate_hz",
    "count_frames",
    "describe_settings",
    "make_no_people_error",
    "prepare_points",
]

# Keys of `PointFeaturesConfig` that are absent from fingerprints while they have their default, so
# that the fingerprints of stores and bundles from before these keys stay valid.
_OPTIONAL_KEYS = ("fps", "missing", "smooth")


@dataclass(frozen=True)
class PreparedPoints:
    """Points that were smoothed, filled and resampled.

    Attributes:
        x_TJC: Points.
        detected_TJ: Mask of the points that were detected. With `missing: interpolate`, a point
            whose detections all lie between the resampled frames counts as detected where filled.
        known_TJ: Mask of the points that have a position: the detected and the filled ones.
        confidence_TJ: Confidence at the rate of the points; 0 where a point was not detected.
    """

    x_TJC: NDArray[np.float32]
    detected_TJ: NDArray[np.bool_]
    known_TJ: NDArray[np.bool_]
    confidence_TJ: NDArray[np.float32]


def prepare_points(
    x_TJC: NDArray[np.float32],
    confidence_TJ: NDArray[np.float32],
    fps: float,
    config: PointFeaturesConfig,
) -> PreparedPoints:
    """Smooth points, fill their gaps and resample them to `config.fps`, each if configured.

    Args:
        x_TJC: Points; the array may be changed.
        confidence_TJ: Confidence; 0 where a point was not detected.
        fps: Frame rate of the points in frames per second.
        config: Config with the target rate, the filter and the treatment of missing points.

    Raises:
        ClipError: If the points cannot be smoothed or resampled; reason `smooth_window` or
            `implausible_rate`.
    """
    detected_TJ = known_TJ = confidence_TJ > 0
    if config.smooth is not None:
        smooth_points(x_TJC, detected_TJ, fps, config.smooth)
    interpolates = config.missing == "interpolate"
    if interpolates:
        # Before resampling, which needs both neighbors: a point found in every second frame would
        # be lost in all of them.
        known_TJ = interpolate_missing_points(x_TJC, detected_TJ)
    if config.fps is None:
        return PreparedPoints(x_TJC, detected_TJ, known_TJ, confidence_TJ)
    x_RJC, confidence_RJ = resample_points(
        x_TJC, known_TJ.astype(np.float32) if interpolates else confidence_TJ, fps, config.fps
    )
    known_RJ = confidence_RJ > 0
    if not interpolates:
        return PreparedPoints(x_RJC, known_RJ, known_RJ, confidence_RJ)
    # The confidence of the detections, without that of filled gaps.
    confidence_RJ = resample_points(x_TJC, confidence_TJ, fps, config.fps)[1]
    detected_RJ = confidence_RJ > 0
    lost_J = known_RJ.any(axis=0) & ~detected_RJ.any(axis=0)
    return PreparedPoints(x_RJC, detected_RJ | (known_RJ & lost_J), known_RJ, confidence_RJ)


def make_no_people_error(confidence_TJ: NDArray[np.float32], fps: float | None) -> ClipError:
    """Make the error for a clip in which no point is left, with the reason `no_people`.

    Args:
        confidence_TJ: Confidence of the points of the file, before resampling.
        fps: Rate to which they were resampled, or None.
    """
    if fps is None or not (confidence_TJ > 0).any():
        return ClipError("no point of a person is detected in any frame", "no_people")
    return ClipError(
        f"points are detected, but none in the frames around a time at {fps:g} frames per second;"
        " set `features.missing: interpolate` to fill their gaps before they are resampled",
        "no_people",
    )


def count_frames(num_frames: int, fps: float, config: PointFeaturesConfig) -> int:
    """Count the frames that remain of a file after resampling and stride.

    Args:
        num_frames: Number of frames of the clip in its file.
        fps: Frame rate of the file in frames per second.
        config: Config with the target rate and the stride.

    Raises:
        ClipError: If points of this rate cannot be smoothed or resampled; reason `smooth_window` or
            `implausible_rate`.
    """
    if config.smooth is not None:
        count_window_frames(fps, config.smooth)
    if config.fps is not None:
        num_frames = count_resampled_frames(num_frames, fps, config.fps)
    return -(-num_frames // config.stride)


def compute_rate_hz(fps: float, config: PointFeaturesConfig) -> float:
    """Compute the number of kept frames per second from the frame rate of a file."""
    return (config.fps or fps) / config.stride


def describe_settings(config: PointFeaturesConfig) -> dict[str, object]:
    """Return the settings that a fingerprint covers; optional keys only if they are in use."""
    settings = config.model_dump(mode="json")
    for key in _OPTIONAL_KEYS:
        if getattr(config, key) == type(config).model_fields[key].default:
            del settings[key]
    return settings
