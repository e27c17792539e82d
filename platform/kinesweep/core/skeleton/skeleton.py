"""Skeletons: the bones between the points of a layout, and the mirror image of each point.

A skeleton is looked up by the point names of a stream, so the same recipe works for every corpus
with a known layout. A saved model stores the skeleton that it was built for.

Shapes: J points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from kinesweep.core.pose import PointLayout
from kinesweep.core.skeleton import keypoints
from kinesweep.core.skeleton.symmetry import mirror_indices
from kinesweep.core.skeleton.topology import ROOT, parents_of

__all__ = ["ROOT", "SKELETONS", "SMPL_22", "Skeleton", "skeleton_of"]


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

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Return pairs of a point and its parent; there are J minus the number of roots."""
        return tuple((child, up) for child, up in enumerate(self.parents) if up != ROOT)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "layout": self.layout.to_json(),
            "parents": list(self.parents),
            "mirror": list(self.mirror),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Skeleton":
        """Build a skeleton from the output of `to_json`."""
        layout = PointLayout.from_json(plain["layout"])
        return cls(plain["name"], layout, tuple(plain["parents"]), tuple(plain["mirror"]))


def skeleton_of(layout: PointLayout | None) -> Skeleton | None:
    """Return the skeleton of a stream's points, or None if it is unknown.

    Args:
        layout: Points of the stream; None for a stream without points.
    """
    return None if layout is None else _skeleton_of(layout)


def _mirror(layout: PointLayout) -> tuple[int, ...]:
    """Return the index of each point's mirror image, or of the point itself."""
    return tuple(
        place if partner is None else partner
        for place, partner in enumerate(mirror_indices(layout))
    )


def _grown(name: str, *components: tuple[str, tuple[str, ...]]) -> Skeleton:
    """Build a skeleton from the body tree; all points must be known."""
    layout = PointLayout(components)
    parents = parents_of(layout)
    assert parents is not None, name
    return Skeleton(name, layout, parents, _mirror(layout))


def _smpl(joints: tuple[str, ...]) -> Skeleton:
    """Build SMPL's kinematic tree, or its first joints.

    It is separate from the body tree, because no pose estimator shares SMPL's topology.
    """
    layout = PointLayout((("SMPL", joints),))
    # Every parent precedes its children, so the first 22 entries are also a valid tree.
    parents = (ROOT, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    return Skeleton(f"smpl_{len(joints)}", layout, parents[: len(joints)], _mirror(layout))


_HANDS = tuple((f"{side}_HAND_LANDMARKS", keypoints.HAND_21) for side in ("LEFT", "RIGHT"))
SMPL_22 = _smpl(keypoints.SMPL_22)
SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        SMPL_22,
        _smpl(keypoints.SMPL_24),
        _grown("coco_17", ("BODY", keypoints.COCO_17)),
        _grown(
            "coco_wholebody_133",
            ("BODY", (*keypoints.COCO_17, *keypoints.COCO_FEET)),
            ("FACE", keypoints.COCO_FACE),
            ("LEFT_HAND", keypoints.COCO_HAND),
            ("RIGHT_HAND", keypoints.COCO_HAND),
        ),
        _grown("holistic_33", ("POSE_LANDMARKS", keypoints.BODY_33)),
        _grown("holistic_hands", *_HANDS),
        _grown(
            "holistic_178",
            ("POSE_LANDMARKS", keypoints.BODY_8),
            ("FACE_LANDMARKS", tuple(map(str, keypoints.FACE_128))),
            *_HANDS,
        ),
    )
}
"""Name → skeleton. Recipes select one by name for arrays, which do not store point names."""


@lru_cache(maxsize=64)
def _skeleton_of(layout: PointLayout) -> Skeleton | None:
    """Return the named skeleton with this layout, one built from the body tree, or None."""
    # Named skeletons first, because SMPL's topology is not part of the body tree.
    named = next((one for one in SKELETONS.values() if one.layout == layout), None)
    parents = parents_of(layout)
    if named is not None or parents is None:
        return named
    return Skeleton(f"{layout.num_points}_points", layout, parents, _mirror(layout))
