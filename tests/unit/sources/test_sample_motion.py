"""The invented signers: hands, faces and bodies made by code."""

from dataclasses import replace

import numpy as np
import pytest

from kinesweep.sources.synthetic import layout
from kinesweep.sources.synthetic.body import render_points
from kinesweep.sources.synthetic.hand import compute_hand_points
from kinesweep.sources.synthetic.handshapes import get_handshape_vector
from kinesweep.sources.synthetic.motion import (
    BROW,
    MOUTH_OPEN,
    YAW,
    MotionNoise,
    MotionParameters,
    SignDurations,
    generate_sign_motion,
)
from kinesweep.sources.synthetic.signers import SHARED_SIGNERS

QUIET = MotionNoise(
    sign_place=0, sign_angle=0, sign_shape=0, tremor=0, lost_start=0, lost_start_at_rest=0
)
NOSE, LEFT_WRIST, RIGHT_WRIST = 0, 15, 16


def params(signs, signer=SHARED_SIGNERS[0], noise=QUIET, seed=0):
    rng = np.random.default_rng(seed)
    return generate_sign_motion(signs.split(), signer, rng, SignDurations(), noise)


def points(signs, signer=SHARED_SIGNERS[0]):
    return render_points(params(signs, signer), signer, np.random.default_rng(0), 0.0)[0]


def hand(shape, angle=0.0, roll=0.0):
    vector = get_handshape_vector(shape)
    one = np.ones(1)
    return compute_hand_points(vector[None, :5], vector[5] * one, angle * one, roll * one)[0]


def test_a_flat_hand_points_up_and_a_fist_is_short():
    flat, fist = hand("flat"), hand("fist")
    assert np.argmin(flat[:, 1]) == 12  # the middle finger's tip
    assert np.abs(fist[[8, 12, 16, 20], 1]).max() < 0.7 * np.abs(flat[12, 1])
    assert flat[4, 0] > 0 > flat[20, 0]  # thumb one way, little finger the other


@pytest.mark.parametrize(("angle", "roll"), [(0.7, 0.0), (0.0, 1.1), (-2.4, 0.7)])
def test_turning_a_hand_keeps_its_bones(angle, roll):
    before, after = hand("claw"), hand("claw", angle, roll)
    bones = [np.linalg.norm(np.diff(points, axis=0), axis=1) for points in (before, after)]
    np.testing.assert_allclose(*bones, atol=1e-12)
    assert np.abs(after - before).max() > 0.1


def test_a_left_handed_signer_is_a_mirror_image():
    right = replace(SHARED_SIGNERS[0], left_handed=False, center_px=(320.0, 210.0))
    left = replace(right, left_handed=True)
    ours, mirrored = points("DOG CAT SEE", right), points("DOG CAT SEE", left)
    mirrored[..., 0] = 640 - mirrored[..., 0]
    for one, other in ((LEFT_WRIST, RIGHT_WRIST), (RIGHT_WRIST, LEFT_WRIST)):
        np.testing.assert_allclose(ours[:, one, :2], mirrored[:, other, :2], atol=0.02)
    a, b = layout.LEFT_HAND_START, layout.RIGHT_HAND_START
    np.testing.assert_allclose(ours[:, a : a + 21, 0], mirrored[:, b : b + 21, 0], atol=0.02)
    assert np.abs(ours[:, LEFT_WRIST] - ours[:, RIGHT_WRIST]).max() > 50


def test_the_head_shakes_over_a_negated_verb_only():
    plain, negated = (
        params("DOG CAT SEE" + mark).params_TK[:, YAW] for mark in ("", " nm:negation")
    )
    moved = np.abs(negated - plain) > 0.3
    assert moved.sum() >= 4
    assert not moved[: len(moved) // 3].any()
    assert {-1.0, 1.0} == set(np.sign(negated[moved]))


def test_brows_ask():
    brow = {
        mark: params("DOG CAT SEE" + mark).params_TK[5:-5, BROW].mean()
        for mark in ("", " nm:question")
    }
    assert brow[" nm:question"] - brow[""] > 0.5
    assert params("DOG SEE WHAT").params_TK[5:-5, BROW].mean() < brow[""] - 0.4


def test_nothing_but_noise_differs_between_two_makings_of_a_sentence():
    first, again = (
        params("DOG CAT SEE", noise=MotionNoise()),
        params("DOG CAT SEE", noise=MotionNoise()),
    )
    np.testing.assert_array_equal(first.params_TK, again.params_TK)
    other = params("DOG CAT SEE", noise=MotionNoise(), seed=1)
    frames = min(len(first.params_TK), len(other.params_TK))
    difference = np.abs(first.params_TK[:frames] - other.params_TK[:frames])
    assert 0 < np.median(difference) < 0.1


def test_signers_differ_in_speed():
    slow, fast = (
        len(params("DOG CAT SEE", replace(SHARED_SIGNERS[0], frames_scale=s)).params_TK)
        for s in (1.3, 0.8)
    )
    assert slow > 1.3 * fast


def test_a_lost_hand_is_zero_without_confidence_but_its_wrist_stays():
    signer = SHARED_SIGNERS[0]
    motion = params("DOG CAT SEE", signer)
    lost = np.zeros_like(motion.undetected_TH)
    lost[3, 0] = True
    frames, confidence = render_points(
        MotionParameters(motion.params_TK, lost), signer, np.random.default_rng(0), 0.01
    )
    start = layout.RIGHT_HAND_START
    assert not frames[3, start : start + 21].any()
    assert not confidence[3, start : start + 21].any()
    assert frames[3, RIGHT_WRIST].any()
    assert confidence[3, RIGHT_WRIST] == 1
    assert confidence[[2, 4], start : start + 21].all()


def test_an_open_mouth_lowers_lip_and_chin():
    motion = params("DOG CAT SEE")
    shut, wide = motion.params_TK.copy(), motion.params_TK.copy()
    shut[:, MOUTH_OPEN], wide[:, MOUTH_OPEN] = 0, 1
    rows = [
        render_points(
            MotionParameters(p, motion.undetected_TH),
            SHARED_SIGNERS[0],
            np.random.default_rng(0),
            0.0,
        )[0]
        for p in (shut, wide)
    ]
    fall = (rows[1] - rows[0])[:, layout.FACE_START :, 1].mean(0)
    assert fall[17] > 5  # the lower lip's middle
    assert fall[152] > 5  # the chin
    assert abs(fall[0]) < 1  # the upper lip's middle


def test_elbows_keep_within_an_arm():
    frames = points("YESTERDAY DOG CAT SEE")
    shoulder_px = SHARED_SIGNERS[0].shoulder_px
    for shoulder, elbow in ((11, 13), (12, 14)):
        upper = np.linalg.norm(frames[:, elbow, :2] - frames[:, shoulder, :2], axis=1)
        assert upper.max() <= 0.8 * shoulder_px
