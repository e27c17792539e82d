"""Forms of the invented signs: handshapes, locations, movements and mouth shapes.

Forms are drawn at random. A form that is too similar to an earlier one is rejected, so that 141
signs remain distinguishable at five frames each. Every ninth form repeats the hands of the previous
one and differs only in the mouth. No form describes a sign of a real language.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
HandUse = Literal["one", "mirror", "base"]

LANGUAGE_SEED = 20240131
"""Seed of the forms. It is fixed, because the forms are part of the language."""
MIN_DISTANCE = 0.9
"""Minimum distance between two forms; about the breadth of a hand over the whole sign."""

# Flexion from thumb to little finger, 0 (straight) to 1 (bent), then the spread.
_HAND_SHAPES = {
    "fist": (1, 1, 1, 1, 1, 0),
    "flat": (0.6, 0, 0, 0, 0, 0),
    "spread": (0, 0, 0, 0, 0, 1),
    "one": (1, 0, 1, 1, 1, 0),
    "two": (1, 0, 0, 1, 1, 1),
    "three": (0, 0, 0, 1, 1, 0.8),
    "four": (1, 0, 0, 0, 0, 0.8),
    "horns": (1, 0, 1, 1, 0, 0.6),
    "call": (0, 1, 1, 1, 0, 0.8),
    "corner": (0, 0, 1, 1, 1, 0.4),
    "curve": (0.2, 0.4, 0.4, 0.4, 0.4, 0),
    "hook": (1, 0.55, 1, 1, 1, 0),
    "claw": (0.2, 0.5, 0.5, 0.5, 0.5, 1),
    "thumb": (0, 1, 1, 1, 1, 0),
    "little": (1, 1, 1, 1, 0, 0),
    "pinch": (0.5, 0.6, 0, 0, 0, 0.7),
}
# Offset towards the signing hand's side, then down, from the point between the shoulders, in
# shoulder distances.
_HEAD_PLACES = ((0.1, -1.0), (0.35, -0.75), (0.1, -0.4), (0.45, -0.15))
_CHEST_PLACES = ((0.05, 0.1), (0.65, 0.1), (-0.35, 0.1), (0.3, 0.4), (-0.1, 0.5))
_WAIST_PLACES = ((0.8, 0.55), (0.15, 0.85), (0.55, 0.9))
_PLACES = (*_HEAD_PLACES, *_CHEST_PLACES, *_WAIST_PLACES)
_STRAIGHT_MOVES = ((0.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (0.0, 0.45), (0.0, -0.45))
_MOVES = (*_STRAIGHT_MOVES, (0.35, 0.35), (-0.35, 0.35), (0.35, -0.35))
MOUTHS = ((0.0, 0.0), (0.9, 0.0), (0.45, -1.0), (0.15, 1.0))
"""(open, wide) of the four mouth shapes: still, open, rounded, wide."""


@dataclass(frozen=True)
class SignForm:
    """The form of a sign, in shoulder distances and radians, with +x on the signing hand's side.

    y points down. `move` leads from the start of the sign to its end, centered at `place`, and
    `bow` bends this path. `hands` states whether the other hand rests, mirrors the first, or is
    held at `base_place` in `base_shape`.
    """

    shapes: tuple[str, str]
    place: tuple[float, float]
    move: tuple[float, float]
    bow: float
    angles: tuple[float, float]
    roll: float
    hands: HandUse
    base_shape: str
    base_place: tuple[float, float]
    mouth: int


def get_handshape_vector(name: str) -> FloatArray:
    """Return the five flexions and the spread of a handshape as an array, (6,).

    Raises:
        KeyError: If there is no handshape with this name.
    """
    return np.array(_HAND_SHAPES[name], dtype=float)


def generate_distinct_forms(count: int) -> list[SignForm]:
    """Return the first `count` forms of the fixed, pseudorandom sequence of distinct forms.

    Every ninth form repeats the previous one with another mouth shape.
    """
    rng = np.random.default_rng(LANGUAGE_SEED)
    forms: list[SignForm] = []
    vectors: list[FloatArray] = []
    while len(forms) < count:
        # A minimal pair: the same hands, and the mouth shape two places on.
        # `_compute_form_vector` ignores the mouth, so the distance of such a pair would be 0 and
        # is not checked.
        if len(forms) % 9 == 8:
            forms.append(replace(forms[-1], mouth=(forms[-1].mouth + 2) % len(MOUTHS)))
            continue
        form = _draw_form(rng)
        vector = _compute_form_vector(form)
        if all(np.linalg.norm(vector - earlier) >= MIN_DISTANCE for earlier in vectors):
            forms.append(form)
            vectors.append(vector)
    return forms


def _draw_form(rng: np.random.Generator) -> SignForm:
    """Draw a random form of a sign, without regard to other forms."""
    # The order of the draws defines the language: reordering them changes every sign.
    shapes = list(_HAND_SHAPES)
    first_shape = shapes[rng.integers(len(shapes))]
    last_shape = shapes[rng.integers(len(shapes))] if rng.random() < 0.25 else first_shape
    place = np.array(_PLACES[rng.integers(len(_PLACES))]) + rng.uniform(-0.07, 0.07, 2)
    move = np.array(_MOVES[rng.integers(len(_MOVES))]) * rng.uniform(0.7, 1.2)
    angle = float(rng.choice([-1.2, -0.6, 0.0, 0.6]))
    turn = float(rng.choice([-1.0, 1.0])) if rng.random() < 0.25 else 0.0
    hands: HandUse = ("one", "mirror", "base")[int(rng.choice(3, p=[0.45, 0.3, 0.25]))]
    return SignForm(
        shapes=(first_shape, last_shape),
        place=(float(place[0]), float(place[1])),
        move=(float(move[0]), float(move[1])),
        bow=float(rng.choice([-0.25, 0.0, 0.25])),
        angles=(angle, angle + turn),
        roll=float(rng.choice([0.0, 0.7, 2.4])),
        hands=hands,
        base_shape=("flat", "fist", "spread", "one")[rng.integers(4)],
        base_place=(float(rng.choice([-0.1, -0.4])), float(rng.choice([0.35, 0.75]))),
        mouth=int(rng.integers(len(MOUTHS))),
    )


def _compute_form_vector(form: SignForm) -> FloatArray:
    """Compute a vector of the hands' form; the distance of two measures the visual difference.

    The mouth shape is not part of the vector.
    """
    place, half_move = np.array(form.place), np.array(form.move) / 2
    start, end = place - half_move, place + half_move
    # Shifted by 1, so that a base hand anywhere differs clearly from no base hand (zeros).
    base_place = np.array(form.base_place) + 1 if form.hands == "base" else np.zeros(2)
    return np.concatenate(
        [
            *(1.5 * start, 1.5 * end, [form.bow, float(form.hands == "mirror"), form.roll * 0.3]),
            *(base_place, np.array(form.angles) * 0.4),
            *(0.5 * get_handshape_vector(shape) for shape in form.shapes),
        ]
    )
