"""Which point of a layout hangs on which: one tree of the body, of which each layout takes a part.

The tree has every point that an estimator may find. A layout that lacks some of them hangs each of
its points on the nearest one above it that it has: so the 178 points of a signer, whose legs, nose
and fingers' bases are other than a runner's 17, need no list of their own. Left and right are built
alike, so the mirror image of a bone is a bone. A part that is joined to nothing is a tree by itself
(hands without arms). Of a whole face mesh the points on no line hang on the chin.

A body is known by names (`LEFT_WRIST`, `left_wrist`, `LWrist`), a hand by its 21 places, a face by
numbers: MediaPipe's mesh, or the 68 points of iBUG.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise

from kinesweep.core.mirror import IBUG, MESH, face_number
from kinesweep.core.points import MESH_LIPS, MESH_SIDES
from kinesweep.core.pose import PointLayout

ROOT = -1
"""The parent of a point that hangs on no other."""

Key = tuple[str, str | int]
"""A point by the part of the body and its name, or its number."""

_BODIES = ("POSE_LANDMARKS", "pose_keypoints_2d", "BODY", "BODY_133", "BODY_136")
_WORLD = "POSE_WORLD_LANDMARKS"
_MESH = "FACE_LANDMARKS"
_FACES = ("FACE", "FACE_133", "FACE_136", "face_keypoints_2d")
_HAND_SIZE = 21
_CHIN = 152

_BODY_LINES = (
    "nose {}_eye_inner {}_eye {}_eye_outer {}_ear",
    "nose mouth_{}",
    "neck {}_shoulder {}_elbow {}_wrist {}_thumb",
    "{}_wrist {}_index",
    "{}_wrist {}_pinky",
    "{}_hip {}_knee {}_ankle {}_heel",
    "{}_ankle {}_foot_index",
    "{}_ankle {}_big_toe",
    "{}_ankle {}_small_toe",
)
"""Of either side: each point hangs on the one before it."""
_MESH_LINES = ((_CHIN, 17, 14, 13, 0, 10), (10, 107, 55, 133))
"""From the chin over the lips to the forehead, and from there over a brow to an eye."""
_IBUG_LINES = (
    (30, 29, 28, 27),
    (30, 33, 51, 62, 66, 57, 8),
    (8, 7, 6, 5, 4, 3, 2, 1, 0),
    (27, 21, 20, 19, 18, 17),
    (33, 32, 31),
    (27, 39, 38, 37, 36),
    (39, 40, 41),
    (39, 68),
    (51, 50, 49, 48),
    (57, 58, 59),
    (62, 61, 60),
    (66, 67),
)
"""From the tip of the nose, in the middle and on the right."""


def parents_of(layout: PointLayout) -> tuple[int, ...] | None:
    """For each point the place of the one it hangs on, or `ROOT`; None: a point is not known."""
    keys = [_key(part, points, n) for part, points in layout.components for n in range(len(points))]
    places = {key: place for place, key in enumerate(keys) if key is not None}
    if len(places) < len(keys) or any(key not in _tree() and key[0] != "mesh" for key in places):
        return None
    return tuple(_place_above(key, places) for key in places)


def _place_above(key: Key, places: Mapping[Key, int]) -> int:
    """Place of the nearest point above one that is there."""
    above: Sequence[Key] = _tree().get(key, (("mesh", _CHIN),))
    there = [places[candidate] for candidate in above if candidate in places]
    there += [found for up in above if (found := _place_above(up, places)) != ROOT]
    return there[0] if there else ROOT


def _key(component: str, points: Sequence[str], number: int) -> Key | None:
    """What a point of a layout is in the tree; None: its component is not known."""
    name = points[number]
    if component in _BODIES or component == _WORLD:
        return ("world" if component == _WORLD else "body"), _plain(name)
    side = re.search("left|right", component.lower())
    if side and "hand" in component.lower() and len(points) == _HAND_SIZE:
        return f"{side.group()} hand", number
    if component == _MESH or component in _FACES:
        known = face_number(name)
        return None if known is None else ("mesh" if component == _MESH else "ibug", known)
    return None


def _plain(name: str) -> str:
    """`left_big_toe` of `LBigToe`, `left_wrist` of `LEFT_WRIST`."""
    if name.isupper():
        return name.lower()
    sided = re.sub(r"^([LR])(?=[A-Z][a-z])", lambda m: {"L": "left", "R": "right"}[m[1]], name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", sided).lower()


@cache
def _tree() -> dict[Key, tuple[Key, ...]]:
    """Point → those that it may hang on, the nearest first."""
    above: dict[Key, tuple[Key, ...]] = {("ibug", 30): (("body", "nose"),)}
    above |= {("mesh", _CHIN): (("body", "nose"),)}
    for part in ("body", "world"):
        above |= _body(part)
    for side in ("left", "right"):
        for number in range(_HAND_SIZE):
            base = number % 4 == 1
            above[f"{side} hand", number] = ((f"{side} hand", 0 if base else number - 1),)
        above[f"{side} hand", 0] = (("body", f"{side}_wrist"),)
    for part, lines in (("mesh", _mesh_lines()), ("ibug", _ibug_lines())):
        for line in lines:
            for up, down in pairwise(line):
                above.setdefault((part, down), ((part, up),))
    return above


def _body(part: str) -> dict[Key, tuple[Key, ...]]:
    """A body, in pixels or in metres."""
    chin: tuple[Key, ...] = (("mesh", _CHIN),) if part == "body" else ()
    above: dict[Key, tuple[Key, ...]] = {(part, "nose"): ()}
    for name in ("neck", "head_top"):
        above[part, name] = ((part, "nose"), *chin)
    for name in ("pelvis", "mid_hip"):
        above[part, name] = ((part, "neck"),)
    for side in ("left", "right"):
        for line in _BODY_LINES:
            names = line.format(*[side] * line.count("{}")).split()
            above |= {(part, down): ((part, up),) for up, down in pairwise(names)}
        trunk = ("pelvis", "mid_hip", f"{side}_shoulder")
        above[part, f"{side}_hip"] = tuple((part, name) for name in trunk)
    return above


def _mesh_lines() -> Iterator[Sequence[int]]:
    """Lines of the mesh, each from a point that an earlier one has reached."""
    for line in _MESH_LINES:
        yield line
        yield [MESH[point] for point in line]
    for lip in MESH_LIPS:
        middle = len(lip) // 2
        yield lip[middle:]
        yield lip[middle::-1]
    for pair in MESH_SIDES:
        for side in pair:
            yield side if side[0] == 10 else side[::-1]


def _ibug_lines() -> Iterator[Sequence[int]]:
    """Lines of the 68 points, and their mirror images."""
    for line in _IBUG_LINES:
        yield line
        yield [IBUG[point] for point in line]
