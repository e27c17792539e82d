"""A synthetic face of 468 points with movable mouth, brows and chin.

The 128 contour points that `reduce_holistic` keeps form the oval, lips, eyes and brows. The other
340 points fill the oval and move only with the whole head. The model can show non-manual marking (a
raised brow, a shaken head, a mouth shape) but not the identity of a person.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.sources.synthetic import layout

# Legend: T frames, N face points (468), C coordinates (x, y, z).

FloatArray = NDArray[np.float64]

HALF_WIDTH, HALF_HEIGHT = 0.21, 0.29
"""Half axes of the oval of the face, in shoulder distances."""
# Largest displacement of each part, in shoulder distances.
_BROW_TRAVEL, _JAW_TRAVEL, _LIP_TRAVEL = 0.06, 0.07, 0.075


def _place_on_parabola(
    points: tuple[int, ...], x_from: float, x_to: float, y: float, bow: float
) -> dict[int, tuple[float, float]]:
    """Compute x and y of points at even distances along a parabola with a vertical axis.

    Args:
        points: Indices of the points, from one end to the other.
        x_from: x of the first point.
        x_to: x of the last point.
        y: y of both ends.
        bow: Distance of the middle below the ends.
    """
    share = np.linspace(0, 1, len(points))
    xs = x_from + (x_to - x_from) * share
    ys = y + bow * 4 * share * (1 - share)
    return {
        point: (float(point_x), float(point_y))
        for point, point_x, point_y in zip(points, xs, ys, strict=True)
    }


def _build_neutral_face() -> FloatArray:
    """Compute the points of the face at rest, (468, 3), in shoulder distances from its center."""
    face = np.zeros((layout.NUM_FACE, 3))
    # A sunflower spiral (golden angle) fills the oval evenly; contours then replace their points.
    rank = np.arange(layout.NUM_FACE)
    radius, turn = 0.93 * np.sqrt((rank + 0.5) / layout.NUM_FACE), rank * np.pi * (3 - 5**0.5)
    face[:, 0], face[:, 1] = HALF_WIDTH * radius * np.cos(turn), HALF_HEIGHT * radius * np.sin(turn)
    oval_angles = np.linspace(0, 2 * np.pi, len(layout.FACE_OVAL), endpoint=False)
    oval = list(layout.FACE_OVAL)
    face[oval, 0], face[oval, 1] = (
        HALF_WIDTH * np.sin(oval_angles),
        -HALF_HEIGHT * np.cos(oval_angles),
    )
    contour_points = (
        _place_on_parabola(layout.LIPS_OUTER_LOWER, -0.075, 0.075, 0.145, 0.035)
        | _place_on_parabola(layout.LIPS_OUTER_UPPER, -0.075, 0.075, 0.145, -0.028)
        | _place_on_parabola(layout.LIPS_INNER_LOWER, -0.06, 0.06, 0.145, 0.008)
        | _place_on_parabola(layout.LIPS_INNER_UPPER, -0.06, 0.06, 0.145, -0.006)
        | _place_on_parabola(layout.RIGHT_EYE_LOWER, -0.125, -0.045, -0.06, 0.014)
        | _place_on_parabola(layout.RIGHT_EYE_UPPER, -0.125, -0.045, -0.06, -0.02)
        | _place_on_parabola(layout.LEFT_EYE_LOWER, 0.045, 0.125, -0.06, 0.014)
        | _place_on_parabola(layout.LEFT_EYE_UPPER, 0.045, 0.125, -0.06, -0.02)
        | _place_on_parabola(layout.RIGHT_BROW_LOWER, -0.145, -0.035, -0.115, -0.012)
        | _place_on_parabola(layout.RIGHT_BROW_UPPER, -0.15, -0.03, -0.13, -0.018)
        | _place_on_parabola(layout.LEFT_BROW_LOWER, 0.035, 0.145, -0.115, -0.012)
        | _place_on_parabola(layout.LEFT_BROW_UPPER, 0.03, 0.15, -0.13, -0.018)
    )
    for point, xy in contour_points.items():
        face[point, :2] = xy
    face[1, :2] = 0.0, 0.05  # the tip of the nose
    # The depth is that of half an ellipsoid, clipped for points on or outside of the oval.
    inside = np.clip(1 - (face[:, 0] / HALF_WIDTH) ** 2 - (face[:, 1] / HALF_HEIGHT) ** 2, 0, 1)
    face[:, 2] = -0.2 * np.sqrt(inside)
    return face


NEUTRAL_NC = _build_neutral_face()
_BROWS = [
    *layout.RIGHT_BROW_LOWER,
    *layout.RIGHT_BROW_UPPER,
    *layout.LEFT_BROW_LOWER,
    *layout.LEFT_BROW_UPPER,
]
# Both corners of the mouth belong to the upper lips, so that the open mouth does not move them.
_UPPER_LIPS = sorted({*layout.LIPS_OUTER_UPPER, *layout.LIPS_INNER_UPPER})
_LOWER_LIPS = sorted({*layout.LIPS_OUTER_LOWER[1:-1], *layout.LIPS_INNER_LOWER[1:-1]})
_LIPS = _UPPER_LIPS + _LOWER_LIPS
_CHIN = [point for point in layout.FACE_OVAL if NEUTRAL_NC[point, 1] > 0.5 * HALF_HEIGHT]


def compute_face_points(brow_T: FloatArray, open_T: FloatArray, wide_T: FloatArray) -> FloatArray:
    """Compute the points of a face over time from the positions of its brows and mouth.

    Args:
        brow_T: Position of the brows, (T,), from -1 (lowered) to 1 (raised).
        open_T: Opening of the mouth, (T,), from 0 (closed) to 1 (open).
        wide_T: Width of the lips, (T,), from -1 (rounded) to 1 (spread).

    Returns:
        (T, 468, 3) in shoulder distances, the center at the origin, y downwards.
    """
    face = np.repeat(NEUTRAL_NC[None], len(brow_T), axis=0)
    face[:, _BROWS, 1] -= _BROW_TRAVEL * brow_T[:, None]
    face[:, _LOWER_LIPS, 1] += _LIP_TRAVEL * open_T[:, None]
    face[:, _CHIN, 1] += _JAW_TRAVEL * open_T[:, None]
    face[:, _LIPS, 0] *= 1 + 0.45 * wide_T[:, None]
    return face


def rotate_face(face_TNC: FloatArray, yaw_T: FloatArray, tilt_T: FloatArray) -> FloatArray:
    """Return a face over time, (T, 468, 3), rotated sideways and then tilted around the chin.

    Args:
        face_TNC: Points of the face, (T, 468, 3), with the center at the origin.
        yaw_T: Rotation to the side in radians, (T,).
        tilt_T: Tilt towards a shoulder in radians, (T,).
    """
    cos, sin = np.cos(yaw_T)[:, None], np.sin(yaw_T)[:, None]
    x, y, z = np.moveaxis(face_TNC, -1, 0)
    x, z = x * cos - z * sin, x * sin + z * cos
    cos, sin = np.cos(tilt_T)[:, None], np.sin(tilt_T)[:, None]
    y_from_chin = y - HALF_HEIGHT  # the head tilts around the chin
    x, y = x * cos - y_from_chin * sin, x * sin + y_from_chin * cos + HALF_HEIGHT
    return np.stack([x, y, z], axis=-1)
