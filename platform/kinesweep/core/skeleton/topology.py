"""Skeleton topology: the parent of each point of a layout, from one tree of the whole body.

The tree contains every point that a supported estimator may detect. In a layout that lacks some of
them, the parent of a point is its nearest ancestor that the layout contains. The 178 points of a
signer and the 17 points of a runner differ in legs, nose and fingers, but need no lists of their
own. The tree is symmetric, so the mirror image of a bone is also a bone. A part that is connected
to nothing becomes a separate tree (hands without arms). Points of a full face mesh that lie on none
of the listed contours have the chin as their parent.

Body points are identified by name (`LEFT_WRIST`, `left_wrist`, `LWrist`), hand points by their
index among 21, and face points by number: MediaPipe's face mesh or the 68 iBUG landmarks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise

from kinesweep.core.pose import PointLayout
from kinesweep.core.skeleton.keypoints import MESH_LIPS, MESH_SIDES
from kinesweep.core.skeleton.symmetry import IBUG, MESH, face_number

ROOT = -1
"""Parent index of a point without a parent."""

Key = tuple[str, str | int]
"""A point, identified by its body part and its name or number."""

# Names of components as the estimators' pose files have them: MediaPipe's, OpenPose's, and those of
# COCO layouts. A body of 133 or 136 points (COCO WholeBody, Halpe) is split into components.
_BODIES = ("POSE_LANDMARKS", "pose_keypoints_2d", "BODY", "BODY_133", "BODY_136")
_WORLD = "POSE_WORLD_LANDMARKS"
_MESH = "FACE_LANDMARKS"
_FACES = ("FACE", "FACE_133", "FACE_136", "face_keypoints_2d")
_HAND_SIZE = 21  # the wrist and four joints for each of five fingers
_CHIN = 152  # landmark number in MediaPipe's face mesh

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
"""Chains of body points, for either side; the parent of each point is the one before it."""
_MESH_LINES = ((_CHIN, 17, 14, 13, 0, 10), (10, 107, 55, 133))
"""Chains from the chin over the lips to the forehead, and from there over one brow to an eye."""
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
"""Chains from the tip of the nose (30), along the midline and on the right side."""


def parents_of(layout: PointLayout) -> tuple[int, ...] | None:
    """Return the parent index of each point, or None if the layout has an unknown point.

    Args:
        layout: Components and point names, J points in total.

    Returns:
        J parent indices; `ROOT` for points without a parent.
    """
    keys = [_key(part, points, n) for part, points in layout.components for n in range(len(points))]
    places = {key: place for place, key in enumerate(keys) if key is not None}
    # `places` is shorter than `keys` when a point is unknown or two points share a key. Mesh points
    # off the listed contours are not in the tree, but `_place_above` attaches them to the chin.
    if len(places) < len(keys) or any(key not in _tree() and key[0] != "mesh" for key in places):
        return None
    return tuple(_place_above(key, places) for key in places)


def _place_above(key: Key, places: Mapping[Key, int]) -> int:
    """Return the index of the nearest ancestor that the layout contains, or `ROOT`."""
    above: Sequence[Key] = _tree().get(key, (("mesh", _CHIN),))
    # Every candidate parent is tried before any more distant ancestor.
    there = [places[candidate] for candidate in above if candidate in places]
    there += [found for up in above if (found := _place_above(up, places)) != ROOT]
    return there[0] if there else ROOT


def _key(component: str, points: Sequence[str], number: int) -> Key | None:
    """Return the tree key of a layout's point, or None if its component is unknown."""
    name = points[number]
    if component in _BODIES or component == _WORLD:
        return ("world" if component == _WORLD else "body"), _plain(name)
    # Hand points are keyed by index, because estimators name the same 21 points differently.
    side = re.search("left|right", component.lower())
    if side and "hand" in component.lower() and len(points) == _HAND_SIZE:
        return f"{side.group()} hand", number
    if component == _MESH or component in _FACES:
        known = face_number(name)
        return None if known is None else ("mesh" if component == _MESH else "ibug", known)
    return None


def _plain(name: str) -> str:
    """Normalize a point name: `LBigToe` to `left_big_toe`, `LEFT_WRIST` to `left_wrist`."""
    # MediaPipe's upper-case names have underscores already; splitting would tear them apart.
    if name.isupper():
        return name.lower()
    sided = re.sub(r"^([LR])(?=[A-Z][a-z])", lambda m: {"L": "left", "R": "right"}[m[1]], name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", sided).lower()


@cache
def _tree() -> dict[Key, tuple[Key, ...]]:
    """Return a mapping from each point to its candidate parents, the preferred one first."""
    above: dict[Key, tuple[Key, ...]] = {("ibug", 30): (("body", "nose"),)}
    above |= {("mesh", _CHIN): (("body", "nose"),)}
    for part in ("body", "world"):
        above |= _body(part)
    for side in ("left", "right"):
        for number in range(_HAND_SIZE):
            base = number % 4 == 1  # five fingers of four joints each; their bases join the wrist
            above[f"{side} hand", number] = ((f"{side} hand", 0 if base else number - 1),)
        # Hands join the image body only; without one, the wrist of the hand becomes a root.
        above[f"{side} hand", 0] = (("body", f"{side}_wrist"),)
    for part, lines in (("mesh", _mesh_lines()), ("ibug", _ibug_lines())):
        for line in lines:
            for up, down in pairwise(line):
                # Contours share end points; the first chain that reaches a point decides.
                above.setdefault((part, down), ((part, up),))
    return above


def _body(part: str) -> dict[Key, tuple[Key, ...]]:
    """Return the candidate parents of body points.

    Args:
        part: `body` for image coordinates, `world` for metric coordinates.
    """
    # The face mesh is in image coordinates, so points of the metric body never attach to it.
    chin: tuple[Key, ...] = (("mesh", _CHIN),) if part == "body" else ()
    above: dict[Key, tuple[Key, ...]] = {(part, "nose"): ()}
    # Without a nose, the body joins the chin, so that it stays connected with a face mesh.
    for name in ("neck", "head_top"):
        above[part, name] = ((part, "nose"), *chin)
    for name in ("pelvis", "mid_hip"):
        above[part, name] = ((part, "neck"),)
    for side in ("left", "right"):
        for line in _BODY_LINES:
            names = line.format(*[side] * line.count("{}")).split()
            above |= {(part, down): ((part, up),) for up, down in pairwise(names)}
        # Layouts without a pelvis (COCO, MediaPipe) attach each hip to the shoulder of its side.
        trunk = ("pelvis", "mid_hip", f"{side}_shoulder")
        above[part, f"{side}_hip"] = tuple((part, name) for name in trunk)
    return above


def _mesh_lines() -> Iterator[Sequence[int]]:
    """Yield chains of the face mesh, each starting at a point that an earlier chain contains."""
    for line in _MESH_LINES:
        yield line
        yield [MESH[point] for point in line]
    # A lip contour runs from corner to corner; splitting it in the middle keeps both halves equal.
    for lip in MESH_LIPS:
        middle = len(lip) // 2
        yield lip[middle:]
        yield lip[middle::-1]
    for pair in MESH_SIDES:
        for side in pair:
            # Only the oval that starts at the forehead (10) is listed from its attached end.
            yield side if side[0] == 10 else side[::-1]


def _ibug_lines() -> Iterator[Sequence[int]]:
    """Yield chains of the 68 iBUG landmarks, each followed by its mirror image."""
    for line in _IBUG_LINES:
        yield line
        yield [IBUG[point] for point in line]
