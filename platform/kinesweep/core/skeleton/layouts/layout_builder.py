"""Layouts with a tree of their own, built from lists of names.

A layout is written down as its points in file order and the chains of bones between them, by name,
so that a table can be compared line by line with the published one.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from kinesweep.core.skeleton.pose import PointLayout, PointTree
from kinesweep.core.skeleton.symmetry import swap_sides

_ROOT = -1


def build_layout(
    name: str,
    points: Sequence[str],
    chains: Sequence[str],
    swap: Callable[[str], str] = swap_sides,
) -> PointLayout:
    """Build a layout from its points and its bones.

    Args:
        name: Name of the skeleton; in upper case, it is also the name of the only component.
        points: Names of the points, in file order.
        chains: Names separated by spaces; the parent of each point is the one before it. A chain
            with braces stands for two, with `left` and `right` in them.
        swap: Function from the name of a point to that of its mirror image.
    """
    parents = [_ROOT] * len(points)
    for chain in chains:
        sides = ("left", "right") if "{" in chain else ("",)
        for side in sides:
            for parent, child in pairwise(chain.replace("{}", side).split()):
                assert parents[points.index(child)] in (_ROOT, points.index(parent)), (name, child)
                parents[points.index(child)] = points.index(parent)
    mirror = tuple(points.index(swap(point)) for point in points)
    tree = PointTree(name, tuple(parents), mirror)
    return PointLayout(((name.upper(), tuple(points)),), tree)
