"""Conversion of a sequence of signs to motion parameters: hand locations, handshapes and the face.

Each sign has a few frames of its own, and the parameters are interpolated between signs. Noise is
drawn per sign (no sign is repeated exactly) and per frame (tremor). Non-manual marking is added to
the signs that it belongs to. All lengths are in shoulder distances with +x on the signing hand's
side, so that a left-handed signer is a mirror image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.sources.synthetic.grammar import NEGATION, QUESTION
from kinesweep.sources.synthetic.handshapes import MOUTHS, SignForm, get_handshape_vector
from kinesweep.sources.synthetic.lexicon import get_lexicon
from kinesweep.sources.synthetic.signers import Signer

# Legend: T frames, K motion parameters (25), H hands (2).

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MotionNoise:
    """The noise of the signing and of the simulated pose estimator.

    `sign_place` (shoulder distances), `sign_angle` (radians) and `sign_shape` (flexion) are
    standard deviations per sign, `tremor` is one per frame. Per frame, a hand becomes undetected
    with the probability `lost_start`, to which `lost_start_at_rest` is added for the other hand
    while it rests, and stays undetected with the probability `lost_stay`.
    """

    sign_place: float = 0.04
    sign_angle: float = 0.08
    sign_shape: float = 0.05
    tremor: float = 0.012
    lost_start: float = 0.02
    lost_start_at_rest: float = 0.10
    lost_stay: float = 0.55


@dataclass(frozen=True)
class SignDurations:
    """The number of frames of the parts of a sentence.

    A signer's `frames_scale` stretches the signs and the transitions before them, nothing else.

    Attributes:
        sign_frames: Number of frames of a sign.
        transition_frames: Number of frames of the transition before each sign and after the last.
        edge_frames: Number of frames at rest at each end of the sentence.
    """

    sign_frames: float = 3.6
    transition_frames: float = 1.8
    edge_frames: int = 1


# Columns of a hand: x, y, angle, roll, five flexions, spread.
# Columns of the face: brow, mouth open, mouth wide, yaw, tilt.
HAND_COLUMNS = 10
FACE_COLUMNS = 5
NUM_COLUMNS = 2 * HAND_COLUMNS + FACE_COLUMNS
DOMINANT, NON_DOMINANT = slice(0, HAND_COLUMNS), slice(HAND_COLUMNS, 2 * HAND_COLUMNS)
BROW, MOUTH_OPEN, MOUTH_WIDE, YAW, TILT = range(2 * HAND_COLUMNS, NUM_COLUMNS)

# Parameters of a hand that hangs beside the body.
_REST = np.array([0.35, 1.25, -2.4, 0.7, 0.3, 0.35, 0.35, 0.35, 0.35, 0.2])
_KEY_TIMES = np.linspace(0, 1, 4)
"""Times of the key poses of a sign, from 0 (start) to 1 (end)."""


@dataclass(frozen=True)
class MotionParameters:
    """The motion parameters of a clip over time.

    Attributes:
        params_TK: Parameters, (T, 25), in the columns that this module defines.
        undetected_TH: Whether the signing hand and the other hand are undetected, (T, 2).
    """

    params_TK: FloatArray
    undetected_TH: NDArray[np.bool_]


def generate_sign_motion(
    glosses: list[str],
    signer: Signer,
    rng: np.random.Generator,
    durations: SignDurations,
    noise: MotionNoise,
) -> MotionParameters:
    """Generate the motion parameters of a signed sentence, with noise.

    Args:
        glosses: Signs and marks in the order of `Meaning.to_glosses`.
        signer: Signer of the sentence.
        rng: Random generator of the clip.
        durations: Durations of signs and transitions.
        noise: Strength of the noise.
    """
    sign_glosses = [gloss for gloss in glosses if not gloss.startswith("nm:")]
    sign_numbers = {gloss: number for number, gloss in enumerate(get_lexicon())}
    times, keys, sign_intervals = _compute_key_poses(
        sign_glosses, sign_numbers, signer, rng, durations, noise
    )
    num_frames = int(np.ceil(times[-1])) + 1
    frames = np.arange(num_frames, dtype=float)
    params = np.stack(
        [np.interp(frames, times, keys[:, column]) for column in range(NUM_COLUMNS)], axis=1
    )
    _add_nonmanual_marking(params, frames, sign_intervals, glosses, rng)
    params += _draw_tremor(rng, params.shape, noise.tremor)
    # y of the other hand, which points down: beyond 1.05 shoulder distances the hand is at rest.
    resting = params[:, HAND_COLUMNS + 1] > 1.05
    return MotionParameters(params, _draw_undetected_frames(rng, resting, noise))


def _compute_key_poses(
    sign_glosses: list[str],
    sign_numbers: dict[str, int],
    signer: Signer,
    rng: np.random.Generator,
    durations: SignDurations,
    noise: MotionNoise,
) -> tuple[FloatArray, FloatArray, list[tuple[float, float]]]:
    """Compute the key poses of a sentence, between which the motion is interpolated.

    Args:
        sign_glosses: Glosses of the signs, without marks.
        sign_numbers: Number of each sign in the lexicon, which seeds a signer's accent.
        signer: Signer of the sentence.
        rng: Random generator of the clip.
        durations: Durations of signs and transitions.
        noise: Strength of the noise.

    Returns:
        The times of the key poses in frames, (N,); their parameters, (N, 25); and the start and end
        time of each sign in frames.
    """
    rest_pose = np.concatenate([_REST, _REST, np.zeros(FACE_COLUMNS)])
    times: list[float] = [0.0, float(durations.edge_frames)]
    keys: list[FloatArray] = [rest_pose, rest_pose]
    sign_intervals: list[tuple[float, float]] = []
    for gloss in sign_glosses:
        start = times[-1] + durations.transition_frames * signer.frames_scale
        length = (durations.sign_frames - 1) * signer.frames_scale * rng.uniform(0.85, 1.15)
        form = get_lexicon()[gloss].form
        poses = _compute_sign_keys(form, signer, signer.get_accent(sign_numbers[gloss]), rng, noise)
        times.extend(start + _KEY_TIMES * length)
        keys.extend(poses)
        sign_intervals.append((start, start + length))
    times.extend(
        [
            times[-1] + durations.transition_frames,
            times[-1] + durations.transition_frames + durations.edge_frames,
        ]
    )
    keys.extend([rest_pose, rest_pose])
    return np.array(times), np.array(keys), sign_intervals


def _compute_sign_keys(
    form: SignForm, signer: Signer, accent: FloatArray, rng: np.random.Generator, noise: MotionNoise
) -> FloatArray:
    """Compute the parameters of one execution of a sign at its four key times, (4, 25).

    Args:
        form: Form of the sign.
        signer: Signer, who determines the reach.
        accent: Signer's constant deviation from the sign in x, y and angle, (3,).
        rng: Random generator of the clip.
        noise: Strength of the noise.
    """
    keys = np.zeros((len(_KEY_TIMES), NUM_COLUMNS))
    shift = accent[:2] + rng.normal(0, noise.sign_place, 2)
    move = np.array(form.move) * signer.reach
    # The bow is perpendicular to the path; a sign that does not move swings vertically.
    across = np.array([-move[1], move[0]]) if np.any(move) else np.array([0.0, 0.6])
    swing = np.sin(np.pi * _KEY_TIMES)[:, None] * form.bow * across * 2
    keys[:, :2] = (
        (np.array(form.place) * signer.reach + shift) + (_KEY_TIMES[:, None] - 0.5) * move + swing
    )
    turn = accent[2] + rng.normal(0, noise.sign_angle)
    keys[:, 2] = form.angles[0] + _KEY_TIMES * (form.angles[1] - form.angles[0]) + turn
    keys[:, 3] = form.roll
    first_shape, last_shape = (get_handshape_vector(shape) for shape in form.shapes)
    # The first two key poses have the first handshape, the last two the second one.
    shape = first_shape + (_KEY_TIMES > 0.5)[:, None] * (last_shape - first_shape)
    keys[:, 4:10] = np.clip(shape + rng.normal(0, noise.sign_shape, 6), 0, 1)
    if form.hands == "mirror":
        # Copied unmirrored: each hand has +x on its own side. `maximum` keeps the hands from
        # crossing at the middle of the body.
        keys[:, NON_DOMINANT] = keys[:, DOMINANT]
        keys[:, HAND_COLUMNS] = np.maximum(keys[:, HAND_COLUMNS], 0.12)
        keys[:, 0] = np.maximum(keys[:, 0], 0.12)
    elif form.hands == "base":
        keys[:, HAND_COLUMNS : HAND_COLUMNS + 2] = np.array(form.base_place) + shift
        keys[:, HAND_COLUMNS + 2 : HAND_COLUMNS + 4] = (-0.9, 0.7)
        keys[:, HAND_COLUMNS + 4 : 2 * HAND_COLUMNS] = get_handshape_vector(form.base_shape)
    else:
        keys[:, NON_DOMINANT] = _REST
    keys[:, MOUTH_OPEN], keys[:, MOUTH_WIDE] = MOUTHS[form.mouth]
    return keys


def _add_nonmanual_marking(
    params: FloatArray,
    frames: FloatArray,
    sign_intervals: list[tuple[float, float]],
    glosses: list[str],
    rng: np.random.Generator,
) -> None:
    """Add non-manual marking to the parameters in place.

    The brows mark questions, and a headshake marks negation. Also adds the clip's own neutral
    posture of head and brows.

    Args:
        params: Parameters of the clip, (T, 25).
        frames: Indices of the frames, (T,).
        sign_intervals: Start and end time of each sign in frames.
        glosses: Signs and marks of the sentence.
        rng: Random generator of the clip.
    """
    # Each clip has its own neutral posture of head and brows.
    params[:, [YAW, TILT]] += rng.normal(0, 0.06, 2)
    params[:, BROW] += rng.normal(0, 0.1)
    in_sentence = (frames >= sign_intervals[0][0] - 1) & (frames <= sign_intervals[-1][1] + 1)
    if QUESTION in glosses:
        params[in_sentence, BROW] += rng.uniform(0.8, 1.1)
        params[in_sentence, TILT] += 0.08
    # Question words lower the brows; yes-no questions (above) raise them.
    last_sign = [gloss for gloss in glosses if not gloss.startswith("nm:")][-1]
    if get_lexicon()[last_sign].word_class == "question":
        params[in_sentence, BROW] -= rng.uniform(0.7, 1.0)
    if NEGATION in glosses:
        in_predicate = (frames >= sign_intervals[-1][0] - 1.5) & (
            frames <= sign_intervals[-1][1] + 1.5
        )
        # The head changes sides every two frames. A negated sentence has no question word, so the
        # last sign is its verb or adjective.
        num_frames = int(in_predicate.sum())
        params[in_predicate, YAW] += 0.55 * np.where(np.arange(num_frames) // 2 % 2, 1.0, -1.0)


def _draw_tremor(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> FloatArray:
    """Draw Gaussian noise that is correlated by one half between neighboring frames.

    Args:
        rng: Random generator of the clip.
        shape: Shape of the noise, (T, K).
        std: Standard deviation of each value.
    """
    white_noise = rng.standard_normal((shape[0] + 1, shape[1]))
    return std * (white_noise[1:] + white_noise[:-1]) / np.sqrt(2)


def _draw_undetected_frames(
    rng: np.random.Generator, resting_T: NDArray[np.bool_], noise: MotionNoise
) -> NDArray[np.bool_]:
    """Draw the frames in which the signing hand and the other hand are undetected, (T, 2).

    Undetected frames form runs: a two-state Markov chain for each hand.

    Args:
        rng: Random generator of the clip.
        resting_T: Whether the other hand rests, (T,).
        noise: Probabilities of the transitions.
    """
    uniform_TH = rng.random((len(resting_T), 2))
    undetected_TH = np.zeros(uniform_TH.shape, dtype=bool)
    start_probability_TH = np.stack(
        [
            np.full(len(resting_T), noise.lost_start),
            noise.lost_start + resting_T * noise.lost_start_at_rest,
        ],
        axis=1,
    )
    for t in range(len(uniform_TH)):
        was_undetected_H = undetected_TH[t - 1] if t else np.zeros(2, dtype=bool)
        probability_H = np.where(was_undetected_H, noise.lost_stay, start_probability_TH[t])
        undetected_TH[t] = uniform_TH[t] < probability_H
    return undetected_TH
