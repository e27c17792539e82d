"""Left-right symmetry: the mirror image of each point of a layout, where it is known.

Sides are recognized by name (`LEFT_WRIST`, `left_wrist`, `LWrist`, `LEFT_HAND_LANDMARKS`) and face
points by number: the contours of MediaPipe's face mesh, and the 68 iBUG landmarks that the other
estimators use. In a full face mesh, only points on the contours have known mirror images.
"""

import re

from kinesweep.core.skeleton.keypoints import MESH_LIPS, MESH_SIDES
from kinesweep.core.skeleton.pose import PointLayout

Key = tuple[str, str | int]
"""A point, identified by its component and its name; face points by their number."""

# Points on the midline, in the spelling of all known layouts, in lower case.
_MIDLINE_POINTS = frozenset(
    (
        *("nose", "neck", "midhip", "head_top", "headtop", "upperneck", "pelvis", "head"),
        *("spine1", "spine2", "spine3", "chest", "thorax", "upper_neck", "hip"),
    )
)
_SIDE_WORD = re.compile(r"left|right", re.IGNORECASE)
# `LWrist` starts with a side; `Left…` and `Lip` do not, because no capital follows the letter.
_SIDE_LETTER = re.compile(r"^[LR](?=[A-Z][a-z])")
_OPPOSITE_SIDE = {"left": "right", "right": "left", "L": "R", "R": "L"}

# Contours of a side pair with each other point by point, lip contours with themselves reversed.
MESH_MIRROR = {
    point: partner
    for right, left in (*MESH_SIDES, *((contour, contour[::-1]) for contour in MESH_LIPS))
    for pair in zip(right, left, strict=True)
    for point, partner in (pair, pair[::-1])
}
"""Point on a contour of MediaPipe's face mesh → its mirror image."""
IBUG_MIRROR = (
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


def find_mirror_indices(layout: PointLayout) -> tuple[int | None, ...]:
    """Find the index of each point's mirror image; the mapping is its own inverse.

    Args:
        layout: Components and point names, J points in total.

    Returns:
        J indices; None where the mirror image is unknown or not in the layout. Those of the
        layout's own tree go before those that names imply.
    """
    if layout.tree is not None:
        return layout.tree.mirror
    points = [(component, name) for component, names in layout.components for name in names]
    # A mirror image that the layout lacks is not in `index_by_key`, which gives None.
    index_by_key = {_make_point_key(*point): index for index, point in enumerate(points)}
    mirror_keys = [_find_mirror_point(component, name) for component, name in points]
    return tuple(None if partner is None else index_by_key.get(partner) for partner in mirror_keys)


def parse_face_point_number(name: str) -> int | None:
    """Parse the number at the end of a face point's name; None if it does not end in digits."""
    number = re.search(r"\d+$", name)
    return int(number.group()) if number else None


def _make_point_key(component: str, name: str) -> Key:
    """Make the key of a point: its number for a point of a face, otherwise its name."""
    number = parse_face_point_number(name) if "face" in component.lower() else None
    return (component, name) if number is None else (component, number)


def _find_mirror_point(component: str, name: str) -> Key | None:
    """Find the key of a point's mirror image; None if the mirror image is unknown."""
    mirrored = swap_sides(component)
    if mirrored != component:  # a hand: its points have the same names on both sides
        return mirrored, name
    _, number = _make_point_key(component, name)
    if isinstance(number, int):
        if component == "FACE_LANDMARKS":
            return (component, MESH_MIRROR[number]) if number in MESH_MIRROR else None
        return (component, IBUG_MIRROR[number]) if number < len(IBUG_MIRROR) else None
    mirrored = swap_sides(name)
    # A name without a side is its own mirror image only if the point is known to lie in the middle.
    if mirrored == name and name.lower() not in _MIDLINE_POINTS:
        return None
    return component, mirrored


def swap_sides(name: str) -> str:
    """Swap left and right in a name; return a name that contains neither unchanged.

    A side is the word `left` or `right` in any case, or an initial `L` or `R` as in `LWrist`.
    """
    if _SIDE_LETTER.match(name):
        return _OPPOSITE_SIDE[name[0]] + name[1:]

    def swap_word(match: re.Match[str]) -> str:
        # Upper-case words (`LEFT_WRIST`) stay upper case.
        word = _OPPOSITE_SIDE[match.group().lower()]
        return word.upper() if match.group().isupper() else word

    return _SIDE_WORD.sub(swap_word, name)
