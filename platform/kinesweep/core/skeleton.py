"""Skeletons: which points of a layout are joined by a bone, and which is which one's mirror image.

A skeleton is found by the names of a stream's points, so the same recipe works for any corpus whose
layout is known, and a saved model carries the one it was built for. Shapes: J points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kinesweep.core.pose import PointLayout

ROOT = -1
"""The parent of a point that hangs on no other."""


@dataclass(frozen=True)
class Skeleton:
    """A tree, or several, over the points of a layout.

    Attributes:
        name: what messages call it.
        layout: names of the J points.
        parents: of each point the index of the one it hangs on, or `ROOT`.
        mirror: of each point the index of its partner on the other side, or its own.
    """

    name: str
    layout: PointLayout
    parents: tuple[int, ...]
    mirror: tuple[int, ...]

    @property
    def num_points(self) -> int:
        """J."""
        return len(self.parents)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Pairs of a point and its parent; J less the number of roots."""
        return tuple((child, up) for child, up in enumerate(self.parents) if up != ROOT)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "layout": self.layout.to_json(),
            "parents": list(self.parents),
            "mirror": list(self.mirror),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Skeleton":
        """What `to_json` made."""
        layout = PointLayout.from_json(plain["layout"])
        return cls(plain["name"], layout, tuple(plain["parents"]), tuple(plain["mirror"]))


def _smpl_22() -> Skeleton:
    """The body joints of SMPL, in its order: HumanML3D's 22, without the two hands."""
    points = (
        *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2"),
        *("left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck"),
        *("left_collar", "right_collar", "head", "left_shoulder", "right_shoulder"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    )
    parents = (ROOT, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
    return Skeleton("smpl_22", PointLayout((("SMPL", points),)), parents, _partners(points))


def _partners(points: tuple[str, ...]) -> tuple[int, ...]:
    """Index of each point's partner, by `left_` and `right_` in their names."""
    other = {"left_": "right_", "right_": "left_"}
    index = {name: place for place, name in enumerate(points)}
    found = []
    for name in points:
        side = next((word for word in other if name.startswith(word)), "")
        found.append(index[other[side] + name.removeprefix(side)] if side else index[name])
    return tuple(found)


SMPL_22 = _smpl_22()
SKELETONS = {skeleton.name: skeleton for skeleton in (SMPL_22,)}
"""Name → skeleton."""


def skeleton_of(layout: PointLayout | None) -> Skeleton | None:
    """The skeleton whose points these are, in this order; None where none is known."""
    return next((one for one in SKELETONS.values() if one.layout == layout), None)
