"""Graphs of named points: bones made into trees, and pairs of left and right found by name.

They describe skeletons that a recipe declares or that a motion file states itself. Nothing here
imports NumPy, because recipes are checked before anything is computed.

Shapes: J points.
"""

import re
from collections.abc import Iterator, Sequence

ROOT = -1
"""Parent index of a point without a parent."""

# Spellings of a side, each with the place of its letter or word in the second group:
# `LeftArm`, `left_wrist`, `ShoulderLEFT`; `LArm`, `lShldr`; `L_Arm`, `r.thigh`; `arm_L`, `thigh.r`.
_SIDE_SPELLINGS = (
    re.compile(r"()(left|right)", re.IGNORECASE),
    re.compile(r"(^|[:_])([LRlr])(?=[A-Z])"),
    re.compile(r"(^|[:_])([LRlr])(?=[._])"),
    re.compile(r"([._])([LRlr])$"),
)
# Letters that are a side only if the name with the other letter exists too, so that `root` and
# `Rib` are in the middle: `lfemur`, `handL`, `arm.L.001`, `hand-l`, `L1`.
_DOUBTFUL_SPELLINGS = (
    re.compile(r"(^|[:_. -])([LRlr])"),
    re.compile(r"()([LRlr])(?=[:_. 0-9-]|$)"),
)
_OPPOSITE = {"l": "r", "r": "l", "left": "right", "right": "left"}


def orient_bones(num_points: int, bones: Sequence[tuple[int, int]], root: int) -> tuple[int, ...]:
    """Orient bones away from a root, which makes each point the child of at most one other.

    Args:
        num_points: Number of points, J.
        bones: Pairs of point indices, in any direction, without a cycle.
        root: Index of the root; in a further tree, the point with the lowest index is the root.

    Returns:
        Index of each point's parent, `ROOT` for a root; J values.
    """
    neighbors: list[list[int]] = [[] for _ in range(num_points)]
    for first, second in bones:
        neighbors[first].append(second)
        neighbors[second].append(first)
    parents, visited = [ROOT] * num_points, [False] * num_points
    # Each start that was not reached before is the root of a further tree.
    for start in (root, *range(num_points)):
        waiting = [] if visited[start] else [start]
        visited[start] = True
        while waiting:
            point = waiting.pop()
            for neighbor in neighbors[point]:
                if not visited[neighbor]:
                    visited[neighbor], parents[neighbor] = True, point
                    waiting.append(neighbor)
    return tuple(parents)


def find_cycle_bones(num_points: int, bones: Sequence[tuple[int, int]]) -> list[int]:
    """Find the bones that close a cycle with bones before them.

    Args:
        num_points: Number of points, J.
        bones: Pairs of point indices.

    Returns:
        Positions in `bones`; a bone from a point to itself and a repeated bone are among them.
    """
    # Each point leads to a representative of the tree that it is part of so far.
    leaders = list(range(num_points))

    def find_leader(point: int) -> int:
        while leaders[point] != point:
            # Halves the path, so that a long chain of points stays fast.
            leaders[point] = leaders[leaders[point]]
            point = leaders[point]
        return point

    closing = []
    for position, (first, second) in enumerate(bones):
        first_leader, second_leader = find_leader(first), find_leader(second)
        if first_leader == second_leader:
            closing.append(position)
        leaders[first_leader] = second_leader
    return closing


def find_named_sides(names: Sequence[str]) -> tuple[list[tuple[int, int]], list[int]]:
    """Find pairs of left and right points by their names.

    Args:
        names: Names of the points, J.

    Returns:
        Pairs of the indices of a left point and its right counterpart, and the indices of points
        whose name has a side but whose counterpart does not exist.
    """
    index_by_name = {name: index for index, name in enumerate(names)}
    pairs, alone = [], []
    for index, name in enumerate(names):
        candidates = list(_iter_opposite_names(name, _SIDE_SPELLINGS))
        doubtful = _iter_opposite_names(name, _DOUBTFUL_SPELLINGS)
        partner, is_left = next(
            (
                (index_by_name[other], left)
                for other, left in (*candidates, *doubtful)
                if other in index_by_name
            ),
            (None, False),
        )
        if partner is not None and is_left:
            pairs.append((index, partner))
        elif partner is None and candidates:
            alone.append(index)
    return pairs, alone


def compute_mirror(
    num_points: int, pairs: Sequence[tuple[int, int]], alone: Sequence[int] = ()
) -> tuple[int | None, ...]:
    """Compute each point's mirror image from pairs of left and right points.

    Args:
        num_points: Number of points, J.
        pairs: Pairs of point indices.
        alone: Indices of points on a side whose counterpart does not exist.

    Returns:
        J indices; points outside pairs are their own mirror image, and `alone` ones have None.
    """
    mirror: list[int | None] = list(range(num_points))
    for left, right in pairs:
        mirror[left], mirror[right] = right, left
    for index in alone:
        mirror[index] = None
    return tuple(mirror)


def _iter_opposite_names(
    name: str, spellings: Sequence[re.Pattern[str]]
) -> Iterator[tuple[str, bool]]:
    """Yield a name with its side swapped, and whether the name is on the left, by each spelling."""
    for spelling in spellings:
        for match in spelling.finditer(name):
            side = match[2]
            opposite = _OPPOSITE[side.lower()]
            if side.isupper():
                opposite = opposite.upper()
            elif side[0].isupper():
                opposite = opposite.capitalize()
            start, end = match.span(2)
            yield f"{name[:start]}{opposite}{name[end:]}", side.lower().startswith("l")
