"""Layouts with a tree of their own, built from lists of names.

A named layout is written down as its points in file order and the chains of bones between them, so
that a table can be compared line by line with the published one.

Shapes: J points.
"""

from collections.abc import Sequence
from itertools import pairwise

from kinesweep.core.skeleton.point_graph import ROOT, compute_mirror, find_named_sides
from kinesweep.core.skeleton.pose import PointLayout, PointTree


def build_layout(name: str, points: Sequence[str], chains: Sequence[str]) -> PointLayout:
    """Build a named layout from its points and its bones.

    Args:
        name: Name of the skeleton.
        points: Names of the points, in file order; their sides are recognized by name.
        chains: Names separated by spaces; the parent of each point is the one before it. A chain
            with braces stands for two, with `left` and `right` in their place.
    """
    parents = [ROOT] * len(points)
    for chain in chains:
        for side in ("left", "right") if "{}" in chain else ("",):
            for parent, child in pairwise(chain.replace("{}", side).split()):
                index = points.index(child)
                # Two chains that give a point different parents are an error in a table.
                assert parents[index] in (ROOT, points.index(parent)), (name, child)
                parents[index] = points.index(parent)
    return build_tree_layout(name, points, parents)


def build_tree_layout(
    name: str,
    points: Sequence[str],
    parents: Sequence[int],
    left_right: Sequence[tuple[int, int]] | None = None,
    center: int | None = None,
) -> PointLayout:
    """Build a layout of one component that carries its tree.

    Args:
        name: Name of the skeleton; in upper case, it is the name of the component.
        points: Names of the J points.
        parents: Index of each point's parent, or `ROOT`; J values.
        left_right: Pairs of a left point and its mirror image, without which all points lie in the
            middle; None recognizes pairs by name, and without any all mirror images are unknown.
        center: Index of the root that motions are centered on; None: the first one.
    """
    alone: Sequence[int] = ()
    if left_right is None:
        left_right, alone = find_named_sides(points)
        # Without any pair, the names do not tell which points belong together.
        alone = alone if left_right else range(len(points))
    mirror = compute_mirror(len(points), left_right, alone)
    left = tuple(left for left, _ in left_right)
    # The first root is the default, so that naming it does not change a fingerprint.
    center = None if ROOT in parents and parents.index(ROOT) == center else center
    tree = PointTree(name, tuple(parents), mirror, left, center)
    return PointLayout(((name.upper(), tuple(points)),), tree)
