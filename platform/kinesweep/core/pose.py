"""A pose sequence in memory, whatever file it came from.

Shapes: T frames, P people, J points, C coordinates. Points of every layout are named by component,
so that features pick them by name and a file with another layout is recognised, not misread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PointLayout:
    """Which points a file holds: component → its points' names, in the file's order."""

    components: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def num_points(self) -> int:
        """Points over all components, J."""
        return sum(len(points) for _, points in self.components)

    def to_json(self) -> list[list[Any]]:
        """Plain values: pairs of a component and its points."""
        return [[component, list(points)] for component, points in self.components]

    @classmethod
    def from_json(cls, plain: Sequence[Sequence[Any]]) -> "PointLayout":
        """What `to_json` made."""
        return cls(tuple((component, tuple(points)) for component, points in plain))


@dataclass(frozen=True)
class PoseSequence:
    """Points over time.

    Attributes:
        points_TPJC: float32 coordinates, as in the file; meaningless where confidence is 0.
        confidence_TPJ: float32, 0 where a point was not found.
        fps: frames a second.
        layout: names of the J points.
    """

    points_TPJC: NDArray[np.float32]
    confidence_TPJ: NDArray[np.float32]
    fps: float
    layout: PointLayout
