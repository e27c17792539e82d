"""Pareto front of several objectives."""

import math
from collections.abc import Sequence

from kinesweep.core.errors import InputError


def find_pareto_front(points: Sequence[Sequence[float]], modes: Sequence[str]) -> list[int]:
    """Return the indices of the Pareto front: points that no other point dominates, in order.

    Args:
        points: Objective values of each point.
        modes: `max` or `min` for each objective.

    Raises:
        InputError: If a value is not finite.
    """
    if any(not math.isfinite(value) for point in points for value in point):
        raise InputError("objectives must be finite numbers")
    signs = [1 if mode == "max" else -1 for mode in modes]
    signed = [tuple(s * v for s, v in zip(signs, p, strict=True)) for p in points]
    return [
        i for i, candidate in enumerate(signed) if not any(_dominates(o, candidate) for o in signed)
    ]


def _dominates(other: tuple[float, ...], point: tuple[float, ...]) -> bool:
    """Return whether `other` is at least as good as `point` in all objectives and not equal."""
    # Equal points do not dominate each other, so all of them stay on the front.
    return other != point and all(o >= m for o, m in zip(other, point, strict=True))
