"""Body parts of a skeleton: body, hands and face, each with the edges of its own graph.

Every component of a layout is a part. Hands and faces are recognized by the names of their
components, and the body is the first of the others. The edges of a part are its bones. A face of
the 68 iBUG landmarks has its contours instead, and an edge from the tip of the nose to each point,
as in Uni-Sign (arXiv 2501.15187). For its 18 points these are exactly the published edges.

Shapes: V points of a part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from kinesweep.core.skeleton.skeleton import ROOT, Skeleton
from kinesweep.core.skeleton.symmetry import parse_face_point_number
from kinesweep.core.skeleton.topology import find_parents

PartKind = Literal["body", "left_hand", "right_hand", "face", "other"]

# Components whose points are named by the numbers of the iBUG scheme.
_IBUG_COMPONENTS = ("FACE", "FACE_133", "FACE_136", "face_keypoints_2d")
_NOSE_TIP = 30
_OPEN_CONTOURS = (range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36))
_CLOSED_CONTOURS = (range(36, 42), range(42, 48), range(48, 60), range(60, 68))
"""Jaw, brows, bridge and base of the nose; eyes, outer and inner lips."""


@dataclass(frozen=True)
class BodyPart:
    """A component of a layout and its graph.

    Attributes:
        kind: Kind of part.
        component: Name of the component.
        first: Index of its first point in the layout.
        num_points: Number of its points, V.
        edges: Pairs of points that its graph connects, as indices from 0 to V - 1.
        attachment: Points of the body that it is attached to, as indices in the body: the parent of
            its root, such as the wrist of a hand, or all points of the body if it has none there.
            Empty for the body, and without a body.
    """

    kind: PartKind
    component: str
    first: int
    num_points: int
    edges: tuple[tuple[int, int], ...]
    attachment: tuple[int, ...]

    @property
    def end(self) -> int:
        """Return the index in the layout of the point after its last one."""
        return self.first + self.num_points


def find_body_parts(skeleton: Skeleton) -> tuple[BodyPart, ...]:
    """Find the parts of a skeleton, one for each component of its layout, in its order."""
    components = skeleton.layout.components
    kinds = _find_kinds([name for name, _ in components])
    firsts = [sum(len(points) for _, points in components[:at]) for at in range(len(components))]
    body = next(
        (
            range(first, first + len(points))
            for kind, first, (_, points) in zip(kinds, firsts, components, strict=True)
            if kind == "body"
        ),
        range(0),
    )
    # A skeleton of somebody's own may have other bones in a face of the same name.
    is_known = find_parents(skeleton.layout) == skeleton.parents
    parts = []
    for kind, first, (component, points) in zip(kinds, firsts, components, strict=True):
        own = range(first, first + len(points))
        has_contours = is_known and component in _IBUG_COMPONENTS
        edges = _find_contour_edges(points) if has_contours else _find_bones(skeleton, own)
        attachment = () if kind == "body" else _find_attachment(skeleton, own, body)
        parts.append(BodyPart(kind, component, first, len(points), edges, attachment))
    return tuple(parts)


def _find_kinds(components: Sequence[str]) -> list[PartKind]:
    """Find the kind of each component by its name; the first that is no hand or face is the body.

    Args:
        components: Names of the components.
    """
    kinds: list[PartKind] = []
    for name in map(str.lower, components):
        # A component with both hands, or with an unnamed one, is neither.
        if "hand" in name and ("left" in name) != ("right" in name):
            kinds.append("left_hand" if "left" in name else "right_hand")
        elif "face" in name:
            kinds.append("face")
        else:
            kinds.append("other" if "body" in kinds else "body")
    return kinds


def _find_bones(skeleton: Skeleton, points: range) -> tuple[tuple[int, int], ...]:
    """Find the bones whose ends are both among the points of a part.

    Args:
        skeleton: Skeleton of the layout.
        points: Consecutive points of the layout.

    Returns:
        Pairs of parent and child, counted from the first of the points.
    """
    return tuple(
        (parent - points.start, child - points.start)
        for child, parent in skeleton.bones
        if child in points and parent in points
    )


def _find_attachment(skeleton: Skeleton, points: range, body: range) -> tuple[int, ...]:
    """Find the points of the body that a part is attached to, counted from the body's first point.

    Args:
        skeleton: Skeleton of the layout.
        points: Points of the part.
        body: Points of the body; empty if there is none.
    """
    parents = [skeleton.parents[point] for point in points]
    joined = [parent - body.start for parent in parents if parent != ROOT and parent in body]
    # The first one joins the root of the part; a face may touch the body at further points.
    return tuple(joined[:1] or range(len(body)))


def _find_contour_edges(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Find the edges of a face of iBUG landmarks: contours, and the nose with each other point.

    Points that the face lacks are left out of the contours.

    Args:
        names: Names of the points, which end in their numbers.
    """
    index_by_number = {parse_face_point_number(name): at for at, name in enumerate(names)}
    pairs: list[tuple[int, int]] = []
    for contour in (*_OPEN_CONTOURS, *_CLOSED_CONTOURS):
        chain = [index_by_number[number] for number in contour if number in index_by_number]
        closes = contour in _CLOSED_CONTOURS and len(chain) > 2
        pairs += pairwise([*chain, chain[0]] if closes else chain)
    nose = index_by_number.get(_NOSE_TIP)
    if nose is not None:
        pairs += [(nose, at) for at in range(len(names)) if at != nose]
    # Sorted and unique: the bridge of the nose is both a contour and joined to its tip.
    return tuple(sorted({(min(pair), max(pair)) for pair in pairs}))
