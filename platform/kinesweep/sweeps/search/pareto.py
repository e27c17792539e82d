"""Pareto front of several objectives."""

import math
from collections.abc import Sequence

from kinesweep.core.errors import InputError


def front(points: Sequence[Sequence[float]], modes: Sequence[str]) -> list[int]:
    """Return the indices of all points that no other point dominates, in their order.

    Args:
        points: Objectives of each point.
        modes: `max` or `min` for each objective.

    Raises:
        InputError: If a value is not finite.
    """
    if any(not math.isfinite(value) for point in points for value in point):
        raise InputError("objectives must be finite numbers")
    signs = [1 if mode == "max" else -1 for mode in modes]
    signed = [tuple(s * v for s, v in zip(signs, p, strict=True)) for p in points]
    return [i for i, own in enumerate(signed) if not any(_dominates(o, own) for o in signed)]


def _dominates(other: tuple[float, ...], own: tuple[float, ...]) -> bool:
    """Return whether `other` is at least as good in every objective and not equal."""
    # Equal points do not dominate each other, so all of them stay on the front.
    return other != own and all(o >= m for o, m in zip(other, own, strict=True))
