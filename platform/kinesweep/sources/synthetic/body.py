"""Conversion of motion parameters to the 576 points of each frame.

Two-bone inverse kinematics place the elbows, the face moves with the head, and the legs are below
the image, as in recordings at a desk. The coordinates are pixels, rounded to 1/64 pixel.
The rounding removes the last bits, in which sine functions differ between processors, so that the
same arguments give the same bytes on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.sources.synthetic import layout
from kinesweep.sources.synthetic.face import compute_face_points, rotate_face
from kinesweep.sources.synthetic.hand import compute_hand_points
from kinesweep.sources.synthetic.motion import (
    BROW,
    DOMINANT,
    MOUTH_OPEN,
    MOUTH_WIDE,
    NON_DOMINANT,
    TILT,
    YAW,
    MotionParameters,
)
from kinesweep.sources.synthetic.signers import Signer

# Legend: T frames, K motion parameters (25), Q parameters of one hand (10), H hands (2), J points,
# C coordinates (x, y, z).

FloatArray = NDArray[np.float64]

_UPPER_ARM, _FOREARM = 0.78, 0.72
_HEAD = np.array([0.0, -0.66, -0.1])
_NOSE_POINT, _MOUTH_POINTS, _EAR_POINTS = 1, (291, 61), (454, 234)
_EYE_POINTS = (362, 386, 263, 133, 159, 33)  # left inner, middle, outer; right inner, middle, outer
# Hip, knee, ankle, heel and foot tip: distance to the side, then down, in shoulder distances.
_LEGS = ((0.31, 1.5), (0.33, 2.6), (0.33, 3.6), (0.34, 3.75), (0.42, 3.85))
_SHOULDER_DISTANCE_M = 0.36
"""Distance between the shoulders in meters, for the world landmarks."""
# Steps per pixel of x and y, and per image width of z, that coordinates are rounded to.
_XY_STEP, _Z_STEP = 64.0, 16384.0


def render_points(
    motion: MotionParameters, signer: Signer, rng: np.random.Generator, jitter: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute the points of a clip in pixels and their confidences from its motion parameters.

    Args:
        motion: Motion parameters and frames with undetected hands.
        signer: Signer, who determines the body size and the position in the image.
        rng: Random generator for the jitter of the simulated pose estimator.
        jitter: Standard deviation of the jitter in shoulder distances.

    Returns:
        Points (T, 576, 3) and confidences (T, 576).
    """
    params = motion.params_TK
    dominant = _compute_hand(params[:, DOMINANT])
    non_dominant = _compute_hand(params[:, NON_DOMINANT])
    # Both hands are described as if they were the signing hand; the other one is mirrored.
    non_dominant[:, :, 0] *= -1
    face = _HEAD + rotate_face(
        compute_face_points(params[:, BROW], params[:, MOUTH_OPEN], params[:, MOUTH_WIDE]),
        params[:, YAW],
        params[:, TILT],
    )
    if signer.left_handed:  # positive x is the image's right, where the left hand is
        left, right = (
            (dominant, motion.undetected_TH[:, 0]),
            (non_dominant, motion.undetected_TH[:, 1]),
        )
    else:
        dominant[:, :, 0] *= -1
        non_dominant[:, :, 0] *= -1
        left, right = (
            (non_dominant, motion.undetected_TH[:, 1]),
            (dominant, motion.undetected_TH[:, 0]),
        )
    body = _compute_body(face, left[0], right[0])
    units = np.concatenate([body, face, left[0], right[0]], axis=1)
    units += rng.normal(0, jitter, units.shape)
    points = _convert_to_pixels(units, signer)
    confidence = np.ones(points.shape[:2])
    # The legs below the hips are outside the image, where an estimator can only guess.
    confidence[:, 25:33] = confidence[:, layout.WORLD_START + 25 :] = 0.1
    for start, (_, undetected_T) in (
        (layout.LEFT_HAND_START, left),
        (layout.RIGHT_HAND_START, right),
    ):
        points[undetected_T, start : start + layout.NUM_HAND] = 0
        confidence[undetected_T, start : start + layout.NUM_HAND] = 0
    return points.astype(np.float32), confidence.astype(np.float32)


def _compute_hand(hand_TQ: FloatArray) -> FloatArray:
    """Compute the points of a hand at its location, with +x on the hand's own side of the body.

    Args:
        hand_TQ: Parameters of the hand, (T, 10).

    Returns:
        (T, 21, 3) in shoulder distances from the point between the shoulders, y downwards.
    """
    flexion = np.clip(hand_TQ[:, 4:9], 0, 1)
    points = compute_hand_points(flexion, hand_TQ[:, 9], -hand_TQ[:, 2], hand_TQ[:, 3])
    points[:, :, 0] *= -1  # the thumb of a raised hand points to the body's middle
    points[:, :, :2] += hand_TQ[:, None, :2]
    points[:, :, 2] -= 0.5
    return points


def _compute_body(face: FloatArray, left_hand: FloatArray, right_hand: FloatArray) -> FloatArray:
    """Compute MediaPipe's body points in shoulder distances, (T, 33, 3); left has positive x.

    Args:
        face: Points of the face, (T, 468, 3).
        left_hand: Points of the left hand, (T, 21, 3).
        right_hand: Points of the right hand, (T, 21, 3).
    """
    body = np.zeros((len(face), layout.NUM_BODY, 3))
    body[:, 0] = face[:, _NOSE_POINT]
    body[:, 1:7] = face[:, _EYE_POINTS]
    body[:, 7:9], body[:, 9:11] = face[:, _EAR_POINTS], face[:, _MOUTH_POINTS]
    for offset, sign, hand in ((0, 1.0, left_hand), (1, -1.0, right_hand)):
        shoulder = np.array([sign * 0.5, 0.0, 0.0])
        wrist = hand[:, 0]
        body[:, 11 + offset] = shoulder
        body[:, 13 + offset] = _compute_elbow(shoulder, wrist, sign)
        body[:, 15 + offset] = wrist
        for row, point in ((17, 17), (19, 5), (21, 2)):
            body[:, row + offset] = hand[:, point]
        # MediaPipe alternates the left and right point of each pair.
        for row, (x, y) in enumerate(_LEGS):
            body[:, 23 + 2 * row + offset, :2] = sign * x, y
    return body


def _compute_elbow(shoulder: FloatArray, wrist_TC: FloatArray, sign: float) -> FloatArray:
    """Compute the position of an elbow, (T, 3), by two-bone inverse kinematics.

    The elbow points down and outward. If it cannot stay in the image plane, it moves backwards in
    depth instead.

    Args:
        shoulder: Position of the shoulder, (3,).
        wrist_TC: Positions of the wrist, (T, 3).
        sign: Sign of x on the side of the arm: 1 on the left, -1 on the right.
    """
    reach = wrist_TC[:, :2] - shoulder[:2]
    # Clamped on both sides: no division by zero at the shoulder, no arm longer than its bones.
    length = np.maximum(np.linalg.norm(reach, axis=1), 1e-6)
    span = np.minimum(length, 0.98 * (_UPPER_ARM + _FOREARM))
    # Triangle of shoulder, elbow and wrist: the foot of the elbow on the line, and its height.
    along = (_UPPER_ARM**2 - _FOREARM**2 + span**2) / (2 * span)
    elbow_height = np.sqrt(np.maximum(_UPPER_ARM**2 - along**2, 0))
    unit = reach / length[:, None]
    normal = np.stack([unit[:, 1], -unit[:, 0]], axis=1)
    hang = normal @ (np.array([sign, 1.2]) / np.hypot(1.0, 1.2))
    elbow = np.zeros_like(wrist_TC)
    elbow[:, :2] = shoulder[:2] + along[:, None] * unit + (elbow_height * hang)[:, None] * normal
    elbow[:, 2] = 0.3 * elbow_height * np.sqrt(np.maximum(1 - hang**2, 0))
    return elbow


def _convert_to_pixels(units: FloatArray, signer: Signer) -> FloatArray:
    """Convert points to rounded pixels and append the world landmarks; return (T, 576, 3).

    Args:
        units: Points of body, face and hands in shoulder distances, (T, 543, 3).
        signer: Signer, who determines the scale and the position in the image.
    """
    image = np.empty((len(units), layout.NUM_POINTS, 3))
    image[:, : layout.WORLD_START, :2] = (
        np.array(signer.center_px) + units[..., :2] * signer.shoulder_px
    )
    image[:, : layout.WORLD_START, 2] = units[..., 2] * signer.shoulder_px / layout.WIDTH_PX
    hips = np.array([0.0, _LEGS[0][1], 0.0])
    meters = (units[:, : layout.NUM_BODY] - hips) * _SHOULDER_DISTANCE_M
    # As in pose-format's files, world landmarks in meters are multiplied by the image size.
    image[:, layout.WORLD_START :] = meters * np.array([layout.WIDTH_PX, layout.HEIGHT_PX, 1.0])
    image[..., :2] = np.round(image[..., :2] * _XY_STEP) / _XY_STEP
    image[..., 2] = np.round(image[..., 2] * _Z_STEP) / _Z_STEP
    return image
