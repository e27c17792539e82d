"""Skeletons: the bones between the points of a layout, and the mirror image of each point.

A skeleton is looked up by the point names of a stream, so the same recipe works for every corpus
with a known layout. A saved model stores the skeleton that it was built for.

Shapes: J points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from kinesweep.core.skeleton import keypoints
from kinesweep.core.skeleton.layouts import NAMED_LAYOUTS
from kinesweep.core.skeleton.layouts.layout_builder import build_tree_layout
from kinesweep.core.skeleton.point_graph import ROOT
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.symmetry import find_mirror_indices
from kinesweep.core.skeleton.topology import find_parents

__all__ = ["ROOT", "SKELETONS", "SMPL_22", "Skeleton", "build_point_skeleton", "find_skeleton"]


@dataclass(frozen=True)
class Skeleton:
    """One or several trees over the points of a layout.

    Attributes:
        name: Name used in messages.
        layout: Names of the J points.
        parents: Index of each point's parent, or `ROOT`; J values.
        mirror: Index of each point's mirror image; J values. A point maps to itself if it lies in
            the middle or has no known mirror image (face mesh points off the contours).
    """

    name: str
    layout: PointLayout
    parents: tuple[int, ...]
    mirror: tuple[int, ...]

    @property
    def num_points(self) -> int:
        """Return the number of points, J."""
        return len(self.parents)

    @property
    def center(self) -> int:
        """Return the index of the root that motions are centered on, of several the first one.

        A layout with a tree of its own may name another root.
        """
        tree = self.layout.tree
        named = None if tree is None else tree.center
        return self.parents.index(ROOT) if named is None else named

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Return a pair of point and parent, as indices, for each point that is not a root."""
        return tuple((child, parent) for child, parent in enumerate(self.parents) if parent != ROOT)

    def to_json(self) -> dict[str, Any]:
        """Convert the skeleton to plain values that JSON can represent."""
        return {
            "name": self.name,
            "layout": self.layout.to_json(),
            "parents": list(self.parents),
            "mirror": list(self.mirror),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Skeleton":
        """Build a skeleton from the output of `to_json`."""
        layout = PointLayout.from_json(values["layout"])
        return cls(values["name"], layout, tuple(values["parents"]), tuple(values["mirror"]))


def find_skeleton(layout: PointLayout | None) -> Skeleton | None:
    """Find the skeleton of a stream's points.

    Args:
        layout: Points of the stream; None for a stream without named points.

    Returns:
        The skeleton of the layout's own tree, a named skeleton with exactly these points, or one
        built from the body tree. None if there is no layout, or if it does not fit the tree (see
        `topology.find_parents`).
    """
    return None if layout is None else _find_or_build_skeleton(layout)


def build_point_skeleton(
    name: str,
    points: Sequence[str],
    parents: Sequence[int],
    left_right: Sequence[tuple[int, int]] | None = None,
    center: int | None = None,
) -> Skeleton:
    """Build a skeleton that is declared or stated by a file; its layout carries its tree.

    Args:
        name: Name of the skeleton and of the only component of its layout.
        points: Names of the J points.
        parents: Index of each point's parent, or `ROOT`; J values.
        left_right: Pairs of a left point and its mirror image; None recognizes them by name.
        center: Index of the root that motions are centered on; None: the first one.
    """
    return _build_from_tree(build_tree_layout(name, points, parents, left_right, center))


def _compute_mirror_indices(layout: PointLayout) -> tuple[int, ...]:
    """Compute the index of each point's mirror image; the point itself if it has none."""
    return tuple(
        index if partner is None else partner
        for index, partner in enumerate(find_mirror_indices(layout))
    )


def _build_from_body_tree(name: str, *components: tuple[str, tuple[str, ...]]) -> Skeleton:
    """Build a skeleton whose bones are those of the body tree; all points must be known.

    Args:
        name: Name of the skeleton.
        *components: Pairs of a component and its point names.
    """
    layout = PointLayout(components)
    parents = find_parents(layout)
    assert parents is not None, name
    return Skeleton(name, layout, parents, _compute_mirror_indices(layout))


def _build_smpl_skeleton(joints: tuple[str, ...]) -> Skeleton:
    """Build the skeleton of SMPL's first joints, with the bones of its kinematic tree.

    It is separate from the body tree, because no pose estimator shares SMPL's topology.

    Args:
        joints: Names of the joints, in SMPL's order; the first 22 or all 24.
    """
    layout = PointLayout((("SMPL", joints),))
    # Every parent precedes its children, so the first 22 entries are also a valid tree.
    parents = (ROOT, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    return Skeleton(
        f"smpl_{len(joints)}", layout, parents[: len(joints)], _compute_mirror_indices(layout)
    )


def _build_from_tree(layout: PointLayout) -> Skeleton:
    """Build the skeleton of a layout that carries its own tree.

    Raises:
        ValueError: If the layout has no tree.
    """
    if layout.tree is None:
        raise ValueError("the layout has no tree")
    return Skeleton(layout.tree.name, layout, layout.tree.parents, _compute_mirror_indices(layout))


_HANDS = tuple((f"{side}_HAND_LANDMARKS", keypoints.HAND_21) for side in ("LEFT", "RIGHT"))
SMPL_22 = _build_smpl_skeleton(keypoints.SMPL_22)
SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        SMPL_22,
        _build_smpl_skeleton(keypoints.SMPL_24),
        _build_from_body_tree("coco_17", ("BODY", keypoints.COCO_17)),
        _build_from_body_tree(
            "coco_wholebody_133",
            ("BODY", (*keypoints.COCO_17, *keypoints.COCO_FEET)),
            ("FACE", keypoints.COCO_FACE),
            ("LEFT_HAND", keypoints.COCO_HAND),
            ("RIGHT_HAND", keypoints.COCO_HAND),
        ),
        _build_from_body_tree("holistic_33", ("POSE_LANDMARKS", keypoints.BODY_33)),
        _build_from_body_tree("holistic_hands", *_HANDS),
        _build_from_body_tree(
            "holistic_178",
            ("POSE_LANDMARKS", keypoints.BODY_8),
            ("FACE_LANDMARKS", tuple(map(str, keypoints.FACE_128))),
            *_HANDS,
        ),
        _build_from_body_tree("mediapipe_world_33", ("POSE_WORLD_LANDMARKS", keypoints.BODY_33)),
        _build_from_body_tree("openpose_25", ("pose_keypoints_2d", keypoints.OPENPOSE_25)),
        *map(_build_from_tree, NAMED_LAYOUTS),
    )
}
"""Name → skeleton. Recipes select one by name for arrays, which do not store point names."""
# HumanML3D's joints are SMPL's first 22: the same order and the same kinematic chains.
SKELETONS["humanml3d_22"] = SMPL_22
# RTMPose's whole-body models (RTMW, DWPose) are trained on COCO-WholeBody and have its points.
SKELETONS["rtmpose_133"] = SKELETONS["coco_wholebody_133"]


@lru_cache(maxsize=64)
def _find_or_build_skeleton(layout: PointLayout) -> Skeleton | None:
    """Find the named skeleton of a layout, or build one from the body tree.

    The result is None if the layout has no named skeleton and does not fit the tree. It is cached.
    """
    if layout.tree is not None:
        return _build_from_tree(layout)
    # Named skeletons first, because SMPL's topology is not part of the body tree.
    named_skeleton = next(
        (skeleton for skeleton in SKELETONS.values() if skeleton.layout == layout), None
    )
    parents = find_parents(layout)
    if named_skeleton is not None or parents is None:
        return named_skeleton
    return Skeleton(f"{layout.num_points}_points", layout, parents, _compute_mirror_indices(layout))
