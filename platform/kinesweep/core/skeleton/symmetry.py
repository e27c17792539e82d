"""Left-right symmetry: the mirror image of each point of a layout, where it is known.

Sides are recognized by name (`LEFT_WRIST`, `left_wrist`, `LWrist`, `LEFT_HAND_LANDMARKS`) and face
points by number: the contours of MediaPipe's face mesh, and the 68 iBUG landmarks that the other
estimators use. In a full face mesh, only points on the contours have known mirror images.
"""

import re

from kinesweep.core.pose import PointLayout
from kinesweep.core.skeleton.keypoints import MESH_LIPS, MESH_SIDES

Key = tuple[str, str | int]
"""A point, identified by its component and its name; face points by their number."""

# Points on the midline, in the spelling of all known layouts, in lower case.
_MIDDLE = frozenset(
    (
        *("nose", "neck", "midhip", "head_top", "headtop", "upperneck", "pelvis", "head"),
        *("spine1", "spine2", "spine3"),
    )
)
_WORD = re.compile(r"left|right", re.IGNORECASE)
# `LWrist` starts with a side; `Left…` and `Lip` do not, because no capital follows the letter.
_LETTER = re.compile(r"^[LR](?=[A-Z][a-z])")
_OTHER = {"left": "right", "right": "left", "L": "R", "R": "L"}

# Contours of a side pair with each other point by point, lip contours with themselves reversed.
MESH = {
    point: partner
    for right, left in (*MESH_SIDES, *((line, line[::-1]) for line in MESH_LIPS))
    for pair in zip(right, left, strict=True)
    for point, partner in (pair, pair[::-1])
}
"""Point on a contour of MediaPipe's face mesh → its mirror image."""
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
"""Mirror image of each landmark: jaw, brows, nose, eyes, outer and inner lips, pupils.

The iBUG scheme ends at 67; 68 and 69 are the two pupils that OpenPose adds.
"""


def mirror_indices(layout: PointLayout) -> tuple[int | None, ...]:
    """Return the index of each point's mirror image; the mapping is its own inverse.

    Returns:
        J indices; None where the mirror image is unknown or not in the layout.
    """
    points = [(component, name) for component, names in layout.components for name in names]
    # A partner that the layout lacks is not in `place`, which gives None.
    place = {_key(*point): index for index, point in enumerate(points)}
    found = [_partner(component, name) for component, name in points]
    return tuple(None if partner is None else place.get(partner) for partner in found)


def face_number(name: str) -> int | None:
    """Return the number at the end of a face point's name, or None."""
    number = re.search(r"\d+$", name)
    return int(number.group()) if number else None


def _key(component: str, name: str) -> Key:
    """Return the key of a point; points of a face are keyed by number."""
    number = face_number(name) if "face" in component.lower() else None
    return (component, name) if number is None else (component, number)


def _partner(component: str, name: str) -> Key | None:
    """Return the mirror image of a point, or None if it is unknown."""
    other = swapped(component)
    if other != component:  # a hand: its points have the same names on both sides
        return other, name
    _, known = _key(component, name)
    if isinstance(known, int):
        if component == "FACE_LANDMARKS":
            return (component, MESH[known]) if known in MESH else None
        return (component, IBUG[known]) if known < len(IBUG) else None
    other = swapped(name)
    # A name without a side is its own mirror image only if the point is known to lie in the middle.
    if other == name and name.lower() not in _MIDDLE:
        return None
    return component, other


def swapped(name: str) -> str:
    """Return the name with left and right swapped; unchanged if it names no side."""
    if _LETTER.match(name):
        return _OTHER[name[0]] + name[1:]

    def other(found: re.Match[str]) -> str:
        # Upper-case words (`LEFT_WRIST`) stay upper case.
        word = _OTHER[found.group().lower()]
        return word.upper() if found.group().isupper() else word

    return _WORD.sub(other, name)
