"""Small skeletons, made by code."""

from collections.abc import Sequence

from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton


def made(parents: Sequence[int], mirror: Sequence[int] | None = None) -> Skeleton:
    """A skeleton of points without meaning; without `mirror` each is its own image."""
    names = tuple(f"p{at}" for at in range(len(parents)))
    layout = PointLayout((("MADE", names),))
    return Skeleton("made", layout, tuple(parents), tuple(mirror or range(len(parents))))


def over(layout: PointLayout) -> Skeleton:
    """A skeleton of any points: in each component one hangs on the one before."""
    parents: list[int] = []
    for _, points in layout.components:
        first = len(parents)
        parents += [ROOT, *range(first, first + len(points) - 1)]
    return Skeleton("over", layout, tuple(parents), tuple(range(len(parents))))


BODY_AND_HANDS = made(parents=(ROOT, 0, 0, ROOT, ROOT, 3, 4), mirror=(0, 2, 1, 4, 3, 6, 5))
"""Three trees: a neck (0) with shoulders (1, 2), and two hands (3, 4) with a finger each (5, 6)."""
