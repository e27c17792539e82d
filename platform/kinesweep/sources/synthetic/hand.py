"""A kinematic hand model with 21 points.

Five flexions, a spread, an angle in the image plane and a roll about the hand's own axis determine
the points of MediaPipe's hand: the wrist first, then four per finger. Finger lengths are fractions
of the shoulder distance (the hand of an adult is about half of it). The model is simplified: each
finger curls in one plane, and the thumb swings across the palm.
"""

import numpy as np
from numpy.typing import NDArray

# Legend: T frames, F fingers (5), K bones of a finger (3), J joints of a finger (4).

FloatArray = NDArray[np.float64]

HAND_SCALE = 1.15
"""Scale of the hands relative to an average signer's; fingers of natural size, far from the camera,
would be lost in the jitter."""
# Per finger, thumb first: position of its base along and across the hand, in shoulder distances,
# its direction at rest, and the change of direction at full spread, in radians.
_BASE_ALONG = np.array([0.06, 0.22, 0.23, 0.215, 0.195])
_BASE_ACROSS = np.array([0.07, 0.075, 0.015, -0.04, -0.09])
_REST_ANGLE = np.array([0.75, 0.12, 0.0, -0.12, -0.25])
_SPREAD_ANGLE = np.array([0.55, 0.22, 0.04, -0.18, -0.38])
# Lengths of the three bones of each finger, in shoulder distances.
_BONE_LENGTHS_FK = np.array(
    [
        [0.085, 0.075, 0.06],
        [0.11, 0.07, 0.055],
        [0.125, 0.08, 0.055],
        [0.115, 0.075, 0.055],
        [0.09, 0.055, 0.05],
    ]
)
# Angle at each joint of a fully bent finger, in radians.
_BEND_FK = np.array([[0.3, 0.5, 0.6]] + [[1.35, 1.65, 0.9]] * 4)
_THUMB_SWING = 1.25
"""Angle in radians by which a fully bent thumb lies across the palm."""


def compute_hand_points(
    flexion_TF: FloatArray, spread_T: FloatArray, angle_T: FloatArray, roll_T: FloatArray
) -> FloatArray:
    """Compute the points of a hand over time; its thumb is on +x when its fingers point up.

    Args:
        flexion_TF: Flexion of the fingers, (T, 5), from 0 (straight) to 1 (bent), thumb first.
        spread_T: Spread of the fingers, (T,), from 0 (together) to 1.
        angle_T: Rotation in the image, (T,), in radians; 0 points the fingers up, positive angles
            turn them towards +x.
        roll_T: Rotation about the hand's axis, (T,), in radians; 0 shows the palm flat.

    Returns:
        (T, 21, 3) in shoulder distances, the wrist at the origin, y downwards.
    """
    # The roll acts in the hand's own frame, so it comes before the rotation in the image.
    along_TFJ, across_TFJ, depth_TFJ = _compute_bent_fingers(flexion_TF, spread_T)
    cos_roll, sin_roll = np.cos(roll_T)[:, None, None], np.sin(roll_T)[:, None, None]
    rotated_across = across_TFJ * cos_roll - depth_TFJ * sin_roll
    rotated_depth = across_TFJ * sin_roll + depth_TFJ * cos_roll
    cos_angle, sin_angle = np.cos(angle_T)[:, None, None], np.sin(angle_T)[:, None, None]
    x = along_TFJ * sin_angle + rotated_across * cos_angle
    y = -along_TFJ * cos_angle + rotated_across * sin_angle
    num_frames = len(flexion_TF)
    points = np.zeros((num_frames, 21, 3))
    points[:, 1:] = HAND_SCALE * np.stack([x, y, -rotated_depth], axis=-1).reshape(
        num_frames, 20, 3
    )
    return points


def _compute_bent_fingers(
    flexion_TF: FloatArray, spread_T: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute the positions of the finger joints in the hand's own frame, before its rotation.

    Args:
        flexion_TF: Flexion of the fingers, (T, 5), from 0 (straight) to 1 (bent), thumb first.
        spread_T: Spread of the fingers, (T,), from 0 (together) to 1.

    Returns:
        The positions along the hand, across it, and out of its palm, each (T, 5, 4).
    """
    direction = _REST_ANGLE + spread_T[:, None] * _SPREAD_ANGLE
    direction[:, 0] -= _THUMB_SWING * flexion_TF[:, 0]
    # Each joint bends relative to the bone before it, so the angles of the bones add up.
    bend = np.cumsum(flexion_TF[:, :, None] * _BEND_FK, axis=-1)
    forward, palmward = _BONE_LENGTHS_FK * np.cos(bend), _BONE_LENGTHS_FK * np.sin(bend)
    along = forward * np.cos(direction)[:, :, None]
    across = forward * np.sin(direction)[:, :, None]
    zero = np.zeros((*flexion_TF.shape, 1))
    return (
        _BASE_ALONG[:, None] + np.concatenate([zero, np.cumsum(along, axis=-1)], axis=-1),
        _BASE_ACROSS[:, None] + np.concatenate([zero, np.cumsum(across, axis=-1)], axis=-1),
        np.concatenate([zero, np.cumsum(palmward, axis=-1)], axis=-1),
    )
