"""A hand of 21 points from how far its fingers are bent.

Five flexions, a spread, an angle in the image and a roll about the hand's own axis give the
points of MediaPipe's hand, wrist first, four a finger. Finger lengths are shares of the shoulder
distance (an adult's hand is about half of it). A kinematic sketch, not anatomy: fingers curl in
one plane, and the thumb swings across the palm.
"""

import numpy as np
from numpy.typing import NDArray

# Legend: T frames, F fingers (5), J joints of a finger (4), C coordinates (x, y, z).

FloatArray = NDArray[np.float64]

SIZE = 1.15
"""Of the hands, beside an average signer's: far from the camera fingers would be lost in jitter."""
_BASE_ALONG = np.array([0.06, 0.22, 0.23, 0.215, 0.195])
_BASE_ACROSS = np.array([0.07, 0.075, 0.015, -0.04, -0.09])
_REST_ANGLE = np.array([0.75, 0.12, 0.0, -0.12, -0.25])
_SPREAD_ANGLE = np.array([0.55, 0.22, 0.04, -0.18, -0.38])
_BONES_FJ = np.array(
    [
        [0.085, 0.075, 0.06],
        [0.11, 0.07, 0.055],
        [0.125, 0.08, 0.055],
        [0.115, 0.075, 0.055],
        [0.09, 0.055, 0.05],
    ]
)
_BEND_FJ = np.array([[0.3, 0.5, 0.6]] + [[1.35, 1.65, 0.9]] * 4)
_THUMB_SWING = 1.25
"""Radians by which a fully bent thumb lies across the palm."""


def hand_points(
    flexion_TF: FloatArray, spread_T: FloatArray, angle_T: FloatArray, roll_T: FloatArray
) -> FloatArray:
    """The points of a hand whose thumb lies towards positive x when its fingers point up.

    Args:
        flexion_TF: (T, 5) from 0 (straight) to 1 (bent), thumb first.
        spread_T: (T,) from 0 (fingers together) to 1.
        angle_T: (T,) radians in the image; 0 points the fingers up, positive turns them to +x.
        roll_T: (T,) radians about the hand's axis; 0 shows the palm flat.

    Returns:
        (T, 21, 3) in shoulder distances, the wrist at the origin, y downwards.
    """
    along_TFJ, across_TFJ, depth_TFJ = _bent_fingers(flexion_TF, spread_T)
    cos_roll, sin_roll = np.cos(roll_T)[:, None, None], np.sin(roll_T)[:, None, None]
    turned = across_TFJ * cos_roll - depth_TFJ * sin_roll
    depth = across_TFJ * sin_roll + depth_TFJ * cos_roll
    cos_angle, sin_angle = np.cos(angle_T)[:, None, None], np.sin(angle_T)[:, None, None]
    x = along_TFJ * sin_angle + turned * cos_angle
    y = -along_TFJ * cos_angle + turned * sin_angle
    num_frames = len(flexion_TF)
    points = np.zeros((num_frames, 21, 3))
    points[:, 1:] = SIZE * np.stack([x, y, -depth], axis=-1).reshape(num_frames, 20, 3)
    return points


def _bent_fingers(
    flexion_TF: FloatArray, spread_T: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Joints along the hand, across it and out of its palm, each (T, 5, 4)."""
    direction = _REST_ANGLE + spread_T[:, None] * _SPREAD_ANGLE
    direction[:, 0] -= _THUMB_SWING * flexion_TF[:, 0]
    bend = np.cumsum(flexion_TF[:, :, None] * _BEND_FJ, axis=-1)
    forward, palmward = _BONES_FJ * np.cos(bend), _BONES_FJ * np.sin(bend)
    along = forward * np.cos(direction)[:, :, None]
    across = forward * np.sin(direction)[:, :, None]
    zero = np.zeros((*flexion_TF.shape, 1))
    return (
        _BASE_ALONG[:, None] + np.concatenate([zero, np.cumsum(along, axis=-1)], axis=-1),
        _BASE_ACROSS[:, None] + np.concatenate([zero, np.cumsum(across, axis=-1)], axis=-1),
        np.concatenate([zero, np.cumsum(palmward, axis=-1)], axis=-1),
    )
