"""Which point of a layout is which one's mirror image, as far as it is known.

Sides are known by name (`LEFT_WRIST`, `left_wrist`, `LWrist`, `LEFT_HAND_LANDMARKS`), faces by
their numbers: the lines of MediaPipe's mesh, and the 68 points of iBUG that the other estimators
use. Of a whole mesh only the lines have known partners.
"""

import re

from kinesweep.core.points import MESH_LIPS, MESH_SIDES
from kinesweep.core.pose import PointLayout

Key = tuple[str, str | int]
"""A point by its component and its name; points of a face by their number."""

_MIDDLE = frozenset(
    (
        *("nose", "neck", "midhip", "head_top", "headtop", "upperneck", "pelvis", "head"),
        *("spine1", "spine2", "spine3"),
    )
)
_WORD = re.compile(r"left|right", re.IGNORECASE)
_LETTER = re.compile(r"^[LR](?=[A-Z][a-z])")
_OTHER = {"left": "right", "right": "left", "L": "R", "R": "L"}

MESH = {
    point: partner
    for right, left in (*MESH_SIDES, *((line, line[::-1]) for line in MESH_LIPS))
    for pair in zip(right, left, strict=True)
    for point, partner in (pair, pair[::-1])
}
"""Number of the partner of each point on the lines of MediaPipe's mesh."""
IBUG = (
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


def partners(layout: PointLayout) -> tuple[int | None, ...]:
    """For each point the place of its mirror image; applied twice, nothing has changed.

    None where the layout lacks it, or none is known.
    """
    points = [(component, name) for component, names in layout.components for name in names]
    place = {_key(*point): index for index, point in enumerate(points)}
    found = [_partner(component, name) for component, name in points]
    return tuple(None if partner is None else place.get(partner) for partner in found)


def face_number(name: str) -> int | None:
    """Number of a point of a face, by the end of its name."""
    number = re.search(r"\d+$", name)
    return int(number.group()) if number else None


def _key(component: str, name: str) -> Key:
    number = face_number(name) if "face" in component.lower() else None
    return (component, name) if number is None else (component, number)


def _partner(component: str, name: str) -> Key | None:
    """The mirror image of a point, None where nothing is known."""
    other = swapped(component)
    if other != component:  # a hand; its points have the same names on both sides
        return other, name
    _, known = _key(component, name)
    if isinstance(known, int):
        if component == "FACE_LANDMARKS":
            return (component, MESH[known]) if known in MESH else None
        return (component, IBUG[known]) if known < len(IBUG) else None
    other = swapped(name)
    if other == name and name.lower() not in _MIDDLE:
        return None
    return component, other


def swapped(name: str) -> str:
    """The name with its side changed; unchanged where it has none."""
    if _LETTER.match(name):
        return _OTHER[name[0]] + name[1:]

    def other(found: re.Match[str]) -> str:
        word = _OTHER[found.group().lower()]
        return word.upper() if found.group().isupper() else word

    return _WORD.sub(other, name)
