"""Pareto front of several objectives."""

import math
from collections.abc import Sequence

from kinesweep.core.errors import InputError


def find_pareto_front(points: Sequence[Sequence[float]], modes: Sequence[str]) -> list[int]:
    """Return the indices of the points that no other point dominates, in ascending order.

    Args:
        points: Objective values of each point.
        modes: `max` or `min` for each objective.

    Raises:
        InputError: If a value is not finite.
    """
    if any(not math.isfinite(value) for point in points for value in point):
        raise InputError("objectives must be finite numbers")
    signs = [1 if mode == "max" else -1 for mode in modes]
    maximized_points = [
        tuple(sign * value for sign, value in zip(signs, point, strict=True)) for point in points
    ]
    return [
        index
        for index, point in enumerate(maximized_points)
        if not any(_dominates(other, point) for other in maximized_points)
    ]


def _dominates(other: tuple[float, ...], point: tuple[float, ...]) -> bool:
    """Return whether `other` is as high as `point` or higher in all objectives, and not equal."""
    # Equal points do not dominate each other, so all of them stay on the front.
    return other != point and all(
        other_value >= value for other_value, value in zip(other, point, strict=True)
    )
