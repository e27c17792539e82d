"""Poses that a data set stores as plain arrays, converted to `.pose` files with a given header.

Without confidences, a point that is not a number, or is zero in all coordinates, counts as not
detected. Shapes: T frames, P people, J points, C coordinates.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError, InputError, format_one_line


def read_pose_header(path: Path) -> Any:
    """Read the `pose_format.PoseHeader` of a `.pose` file, or of a file with only a header.

    Raises:
        InputError: If the file cannot be read as one.
    """
    from pose_format import PoseHeader
    from pose_format.utils.reader import BufferReader

    try:
        return PoseHeader.read(BufferReader(path.read_bytes()))
    # pose-format checks nothing, so other bytes give errors of many classes.
    except Exception as error:
        raise InputError(
            f"`--pose-header` must be a `.pose` file, but `{path}` cannot be read as one:"
            f" {format_one_line(error)}"
        ) from None


def build_pose_bytes(value: Any, confidence: Any, header: Any, fps: float) -> bytes:
    """Build the bytes of a `.pose` file.

    Args:
        value: Nested lists or array (T, P, J, C), (T, J, C) or (T, J * C); with C + 1 values per
            point, the last is its confidence.
        confidence: Nested lists or array (T, P, J) or (T, J), or None.
        header: Header that names the J points.
        fps: Frame rate in frames per second.

    Raises:
        ClipError: With reason `ragged_array`, `wrong_shape` or `no_frames`.
    """
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody

    num_points, num_dims = header.total_points(), max(len(c.format) for c in header.components) - 1
    points_TPJC = make_float_array(value)
    if points_TPJC.ndim == 2 and points_TPJC.shape[1] % num_points == 0:
        points_TPJC = points_TPJC.reshape(len(points_TPJC), num_points, -1)
    if points_TPJC.ndim == 3:
        # An array without an axis for people has one person.
        points_TPJC = points_TPJC[:, None]
    shape = points_TPJC.shape
    widths = (num_dims, num_dims + 1) if confidence is None else (num_dims,)
    if len(shape) != 4 or shape[2] != num_points or shape[3] not in widths:
        raise ClipError(
            f"an array of shape {shape} does not fit a header of {num_points} points with"
            f" {num_dims} coordinates",
            "wrong_shape",
        )
    if not shape[0]:
        raise ClipError("the array has no frames", "no_frames")
    if confidence is not None:
        confidence_TPJ = make_float_array(confidence)
        if confidence_TPJ.ndim == 2:
            confidence_TPJ = confidence_TPJ[:, None]
        # As many values in another order would be the confidences of other points.
        if confidence_TPJ.shape != shape[:3]:
            raise ClipError(
                f"confidences of shape {confidence_TPJ.shape} do not fit points of shape {shape}",
                "wrong_shape",
            )
    elif shape[3] > num_dims:
        points_TPJC, confidence_TPJ = points_TPJC[..., :num_dims], points_TPJC[..., num_dims]
    else:
        confidence_TPJ = np.ones(shape[:3], np.float32)
        confidence_TPJ[~np.any(points_TPJC, axis=-1)] = 0
    points_TPJC, confidence_TPJ = _remove_undefined(points_TPJC, confidence_TPJ)
    buffer = io.BytesIO()
    Pose(header, NumPyPoseBody(fps, points_TPJC, confidence_TPJ)).write(buffer)
    return buffer.getvalue()


def make_float_array(value: Any) -> NDArray[np.float32]:
    """Convert nested lists to an array of float32.

    Raises:
        ClipError: With reason `ragged_array`.
    """
    try:
        return np.asarray(value, np.float32)
    except (ValueError, TypeError):
        raise ClipError("the lists of the array have different lengths", "ragged_array") from None


def _remove_undefined(
    points_TPJC: NDArray[np.float32], confidence_TPJ: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Set points and confidences with values that are no finite numbers to 0, as not detected."""
    defined_TPJ = np.isfinite(confidence_TPJ) & np.all(np.isfinite(points_TPJC), axis=-1)
    return np.where(defined_TPJ[..., None], points_TPJC, 0), np.where(
        defined_TPJ, confidence_TPJ, 0
    )
