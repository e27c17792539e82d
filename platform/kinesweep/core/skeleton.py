"""Skeletons: which points of a layout are joined by a bone, and which is which one's mirror image.

A skeleton is found by the names of a stream's points, so the same recipe works for any corpus whose
layout is known, and a saved model carries the one it was built for. Shapes: J points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from kinesweep.core import points
from kinesweep.core.bones import ROOT, parents_of
from kinesweep.core.mirror import partners
from kinesweep.core.pose import PointLayout

__all__ = ["ROOT", "SKELETONS", "SMPL_22", "Skeleton", "skeleton_of"]


@dataclass(frozen=True)
class Skeleton:
    """A tree, or several, over the points of a layout.

    Attributes:
        name: what messages call it.
        layout: names of the J points.
        parents: of each point the index of the one it hangs on, or `ROOT`.
        mirror: of each point the index of its partner on the other side, or its own where it lies
            in the middle or none is known (a face mesh off its lines).
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


def skeleton_of(layout: PointLayout | None) -> Skeleton | None:
    """The skeleton of a stream's points, named or grown from the tree; None where none is known."""
    return None if layout is None else _skeleton_of(layout)


def _mirror(layout: PointLayout) -> tuple[int, ...]:
    """Each point's partner, or the point itself."""
    return tuple(
        place if partner is None else partner for place, partner in enumerate(partners(layout))
    )


def _grown(name: str, *components: tuple[str, tuple[str, ...]]) -> Skeleton:
    """A skeleton out of the tree, of points that are all known."""
    layout = PointLayout(components)
    parents = parents_of(layout)
    assert parents is not None, name
    return Skeleton(name, layout, parents, _mirror(layout))


def _smpl(joints: tuple[str, ...]) -> Skeleton:
    """SMPL's own tree, which no estimator of points shares, or the first joints of it."""
    layout = PointLayout((("SMPL", joints),))
    parents = (ROOT, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    return Skeleton(f"smpl_{len(joints)}", layout, parents[: len(joints)], _mirror(layout))


_HANDS = tuple((f"{side}_HAND_LANDMARKS", points.HAND_21) for side in ("LEFT", "RIGHT"))
SMPL_22 = _smpl(points.SMPL_22)
SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        SMPL_22,
        _smpl(points.SMPL_24),
        _grown("coco_17", ("BODY", points.COCO_17)),
        _grown(
            "coco_wholebody_133",
            ("BODY", (*points.COCO_17, *points.COCO_FEET)),
            ("FACE", points.COCO_FACE),
            ("LEFT_HAND", points.COCO_HAND),
            ("RIGHT_HAND", points.COCO_HAND),
        ),
        _grown("holistic_33", ("POSE_LANDMARKS", points.BODY_33)),
        _grown("holistic_hands", *_HANDS),
        _grown(
            "holistic_178",
            ("POSE_LANDMARKS", points.BODY_8),
            ("FACE_LANDMARKS", tuple(map(str, points.FACE_128))),
            *_HANDS,
        ),
    )
}
"""Name → skeleton; a recipe names those of arrays, whose points nothing else tells."""


@lru_cache(maxsize=64)
def _skeleton_of(layout: PointLayout) -> Skeleton | None:
    named = next((one for one in SKELETONS.values() if one.layout == layout), None)
    parents = parents_of(layout)
    if named is not None or parents is None:
        return named
    return Skeleton(f"{layout.num_points}_points", layout, parents, _mirror(layout))
