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

from kinesweep.core.skeleton.keypoints import MESH_LIPS, MESH_SIDES
from kinesweep.core.skeleton.point_graph import ROOT
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.symmetry import IBUG_MIRROR, MESH_MIRROR, parse_face_point_number

Key = tuple[str, str | int]
"""A point, identified by its body part and its name or number."""

# Names of components as the estimators' pose files have them: MediaPipe's, OpenPose's, and those of
# COCO layouts. A body of 133 or 136 points (COCO WholeBody, Halpe) is split into components.
_BODY_COMPONENTS = ("POSE_LANDMARKS", "pose_keypoints_2d", "BODY", "BODY_133", "BODY_136")
_WORLD_COMPONENT = "POSE_WORLD_LANDMARKS"
_MESH_COMPONENT = "FACE_LANDMARKS"
_FACE_COMPONENTS = ("FACE", "FACE_133", "FACE_136", "face_keypoints_2d")
_NUM_HAND_POINTS = 21  # the wrist and four joints for each of five fingers
_CHIN = 152  # landmark number in MediaPipe's face mesh

_BODY_CHAINS = (
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
_MESH_CHAINS = ((_CHIN, 17, 14, 13, 0, 10), (10, 107, 55, 133))
"""Chains from the chin over the lips to the forehead, and from there over one brow to an eye."""
_IBUG_CHAINS = (
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


def find_parents(layout: PointLayout) -> tuple[int, ...] | None:
    """Find the index of each point's parent in a layout, according to the tree of the whole body.

    The parent is the nearest ancestor that the layout contains. A tree of the layout's own goes
    before that of the body.

    Args:
        layout: Components and point names, J points in total.

    Returns:
        J parent indices, `ROOT` for points without a parent. None if a point is not in the tree
        (other points of a full face mesh, which have the chin as their parent, are allowed), or if
        two points are the same point of the tree.
    """
    if layout.tree is not None:
        return layout.tree.parents
    keys = [
        _make_tree_key(component, points, index)
        for component, points in layout.components
        for index in range(len(points))
    ]
    index_by_key = {key: index for index, key in enumerate(keys) if key is not None}
    # There are fewer indices than keys when a point is unknown or two points share a key. Mesh
    # points off the listed contours are not in the tree; `_find_nearest_ancestor` attaches them
    # to the chin.
    if len(index_by_key) < len(keys) or any(
        key not in _build_body_tree() and key[0] != "mesh" for key in index_by_key
    ):
        return None
    return tuple(_find_nearest_ancestor(key, index_by_key) for key in index_by_key)


def _find_nearest_ancestor(key: Key, index_by_key: Mapping[Key, int]) -> int:
    """Find the index of a point's nearest ancestor that the layout contains.

    Args:
        key: Point whose ancestor is searched for.
        index_by_key: Point → index, for the points of the layout.

    Returns:
        Index in the layout; `ROOT` if the layout contains none of the ancestors.
    """
    candidate_parents: Sequence[Key] = _build_body_tree().get(key, (("mesh", _CHIN),))
    # Every candidate parent is tried before any more distant ancestor.
    indices = [
        index_by_key[candidate] for candidate in candidate_parents if candidate in index_by_key
    ]
    indices += [
        ancestor
        for parent in candidate_parents
        if (ancestor := _find_nearest_ancestor(parent, index_by_key)) != ROOT
    ]
    return indices[0] if indices else ROOT


def _make_tree_key(component: str, points: Sequence[str], index: int) -> Key | None:
    """Make the key by which a point of a layout is found in the tree.

    Args:
        component: Component of the point.
        points: Names of all points of the component.
        index: Index of the point in `points`.

    Returns:
        The key; None for an unknown component, or a face point without a number.
    """
    name = points[index]
    if component in _BODY_COMPONENTS or component == _WORLD_COMPONENT:
        return ("world" if component == _WORLD_COMPONENT else "body"), _normalize_point_name(name)
    # Hand points are keyed by index, because estimators name the same 21 points differently.
    side = re.search("left|right", component.lower())
    if side and "hand" in component.lower() and len(points) == _NUM_HAND_POINTS:
        return f"{side.group()} hand", index
    if component == _MESH_COMPONENT or component in _FACE_COMPONENTS:
        number = parse_face_point_number(name)
        face_part = "mesh" if component == _MESH_COMPONENT else "ibug"
        return None if number is None else (face_part, number)
    return None


def _normalize_point_name(name: str) -> str:
    """Normalize a point name: `LBigToe` to `left_big_toe`, `LEFT_WRIST` to `left_wrist`."""
    # MediaPipe's upper-case names have underscores already; splitting would tear them apart.
    if name.isupper():
        return name.lower()
    full_name = re.sub(
        r"^([LR])(?=[A-Z][a-z])", lambda match: {"L": "left", "R": "right"}[match[1]], name
    )
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", full_name).lower()


@cache
def _build_body_tree() -> dict[Key, tuple[Key, ...]]:
    """Build the tree of the whole body: point → its candidate parents, the preferred one first."""
    candidate_parents: dict[Key, tuple[Key, ...]] = {("ibug", 30): (("body", "nose"),)}
    candidate_parents |= {("mesh", _CHIN): (("body", "nose"),)}
    for part in ("body", "world"):
        candidate_parents |= _build_body_parents(part)
    for side in ("left", "right"):
        for number in range(_NUM_HAND_POINTS):
            # Five fingers of four joints each; their bases join the wrist.
            is_finger_base = number % 4 == 1
            candidate_parents[f"{side} hand", number] = (
                (f"{side} hand", 0 if is_finger_base else number - 1),
            )
        # Hands join the image body only; without one, the wrist of the hand becomes a root.
        candidate_parents[f"{side} hand", 0] = (("body", f"{side}_wrist"),)
    for part, chains in (("mesh", _iter_mesh_chains()), ("ibug", _iter_ibug_chains())):
        for chain in chains:
            for parent, child in pairwise(chain):
                # Contours share end points; the first chain that reaches a point decides.
                candidate_parents.setdefault((part, child), ((part, parent),))
    return candidate_parents


def _build_body_parents(part: str) -> dict[Key, tuple[Key, ...]]:
    """Build the part of the tree with the body points: point → its candidate parents.

    Args:
        part: `body` for image coordinates, `world` for metric coordinates.
    """
    # The face mesh is in image coordinates, so points of the metric body never attach to it.
    chin: tuple[Key, ...] = (("mesh", _CHIN),) if part == "body" else ()
    candidate_parents: dict[Key, tuple[Key, ...]] = {(part, "nose"): ()}
    # Without a nose, the body joins the chin, so that it stays connected with a face mesh.
    for name in ("neck", "head_top"):
        candidate_parents[part, name] = ((part, "nose"), *chin)
    for name in ("pelvis", "mid_hip"):
        candidate_parents[part, name] = ((part, "neck"),)
    for side in ("left", "right"):
        for chain in _BODY_CHAINS:
            names = chain.format(*[side] * chain.count("{}")).split()
            candidate_parents |= {
                (part, child): ((part, parent),) for parent, child in pairwise(names)
            }
        # Layouts without a pelvis (COCO, MediaPipe) attach each hip to the shoulder of its side.
        trunk = ("pelvis", "mid_hip", f"{side}_shoulder")
        candidate_parents[part, f"{side}_hip"] = tuple((part, name) for name in trunk)
    return candidate_parents


def _iter_mesh_chains() -> Iterator[Sequence[int]]:
    """Yield chains of the face mesh; each starts at the chin or at a point of an earlier chain."""
    for chain in _MESH_CHAINS:
        yield chain
        yield [MESH_MIRROR[point] for point in chain]
    # A lip contour runs from corner to corner; splitting it in the middle keeps both halves equal.
    for lip in MESH_LIPS:
        middle = len(lip) // 2
        yield lip[middle:]
        yield lip[middle::-1]
    for pair in MESH_SIDES:
        for side in pair:
            # Only the oval that starts at the forehead (10) is listed from its attached end.
            yield side if side[0] == 10 else side[::-1]


def _iter_ibug_chains() -> Iterator[Sequence[int]]:
    """Yield chains of the 68 iBUG landmarks, each followed by its mirror image."""
    for chain in _IBUG_CHAINS:
        yield chain
        yield [IBUG_MIRROR[point] for point in chain]
