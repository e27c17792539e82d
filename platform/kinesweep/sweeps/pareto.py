"""Who is beaten by nobody in all objectives at once."""

import math
from collections.abc import Sequence

from kinesweep.core.errors import InputError


def front(points: Sequence[Sequence[float]], modes: Sequence[str]) -> list[int]:
    """Indices of the points that no other one dominates, in their order; equal points stay.

    Raises:
        InputError: a value that is not a number.
    """
    if any(not math.isfinite(value) for point in points for value in point):
        raise InputError("objectives must be finite numbers")
    signs = [1 if mode == "max" else -1 for mode in modes]
    signed = [tuple(s * v for s, v in zip(signs, p, strict=True)) for p in points]
    return [i for i, own in enumerate(signed) if not any(_dominates(o, own) for o in signed)]


def _dominates(other: tuple[float, ...], own: tuple[float, ...]) -> bool:
    return other != own and all(o >= m for o, m in zip(other, own, strict=True))
