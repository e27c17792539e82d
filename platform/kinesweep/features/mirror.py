"""Which point of a layout is which one's mirror image.

Sides are known by name (`LEFT_WRIST`, `left_wrist`, `LWrist`, `LEFT_HAND_LANDMARKS`), faces by
their numbers: the lines of MediaPipe's mesh, and the 68 points of iBUG that the other estimators
use. Of a whole mesh only the lines have known partners; a point without one is refused, never left
on the wrong side.
"""

import re

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.pose import PointLayout

Key = tuple[str, str | int]
"""A point by its component and its name; points of a face by their number."""

_MIDDLE = frozenset({"nose", "neck", "midhip", "head_top", "headtop", "upperneck", "pelvis"})
_WORD = re.compile(r"left|right", re.IGNORECASE)
_LETTER = re.compile(r"^[LR](?=[A-Z][a-z])")
_OTHER = {"left": "right", "right": "left", "L": "R", "R": "L"}

_MESH_PAIRS = (
    ((10, 109, 67, 103, 54, 21, 162, 127, 234), (10, 338, 297, 332, 284, 251, 389, 356, 454)),
    (
        (93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
        (323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    ),
    ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362)),
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362)),
    ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285)),
    ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336)),
)
"""Lines of the face mesh on the right and on the left: oval, eyes, brows."""
_MESH_LIPS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)
"""Lines that are their own mirror images, read backwards."""
_MESH = {
    point: partner
    for right, left in (*_MESH_PAIRS, *((line, line[::-1]) for line in _MESH_LIPS))
    for pair in zip(right, left, strict=True)
    for point, partner in (pair, pair[::-1])
}
_IBUG = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
    *(69, 68),
)
"""Number of each point's partner: jaw, brows, nose, eyes, outer and inner lips, pupils."""


def mirror_order(layout: PointLayout) -> NDArray[np.intp]:
    """For each point the place of its mirror image; applied twice, nothing has changed.

    Raises:
        InputError: a point has none.
    """
    points = [(component, name) for component, names in layout.components for name in names]
    place = {_key(*point): index for index, point in enumerate(points)}
    order = []
    for component, name in points:
        partner = _partner(component, name)
        if partner not in place:
            raise InputError(
                f"`batch.augmentation.mirror` does not know the mirror image of `{name}` of"
                f" `{component}` in these features; set it to 0, or choose points that have one"
                " (`features.points: holistic_178`)"
            )
        order.append(place[partner])
    return np.array(order, np.intp)


def _key(component: str, name: str) -> Key:
    number = re.search(r"\d+$", name) if "face" in component.lower() else None
    return (component, int(number.group())) if number else (component, name)


def _partner(component: str, name: str) -> Key | None:
    """The mirror image of a point, None where nothing is known."""
    other = _swapped(component)
    if other != component:  # a hand; its points have the same names on both sides
        return other, name
    _, known = _key(component, name)
    if isinstance(known, int):
        if component == "FACE_LANDMARKS":
            return (component, _MESH[known]) if known in _MESH else None
        return (component, _IBUG[known]) if known < len(_IBUG) else None
    swapped = _swapped(name)
    if swapped == name and name.lower() not in _MIDDLE:
        return None
    return component, swapped


def _swapped(name: str) -> str:
    """The name with its side changed; unchanged where it has none."""
    if _LETTER.match(name):
        return _OTHER[name[0]] + name[1:]

    def other(found: re.Match[str]) -> str:
        word = _OTHER[found.group().lower()]
        return word.upper() if found.group().isupper() else word

    return _WORD.sub(other, name)
