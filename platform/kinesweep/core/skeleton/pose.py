"""A pose sequence in memory, independent of the file format that it came from.

The points of every layout are named by component. Features therefore select points by name, and a
file with another layout is recognized instead of misread.

Shapes: T frames, P people, J points, C coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PointLayout:
    """The points of a pose file or a stream, in its order.

    Attributes:
        components: Pairs of a component, such as `LEFT_HAND_LANDMARKS`, and its point names.
    """

    components: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def num_points(self) -> int:
        """Return the number of points over all components, J."""
        return sum(len(points) for _, points in self.components)

    def to_json(self) -> list[list[Any]]:
        """Convert the layout to plain values for JSON: pairs of a component and its points."""
        return [[component, list(points)] for component, points in self.components]

    @classmethod
    def from_json(cls, pairs: Sequence[Sequence[Any]]) -> "PointLayout":
        """Build a layout from the output of `to_json`."""
        return cls(tuple((component, tuple(points)) for component, points in pairs))


@dataclass(frozen=True)
class PoseSequence:
    """Points over time.

    Attributes:
        points_TPJC: Coordinates as in the file, float32 (T, P, J, C); undefined where the
            confidence is 0.
        confidence_TPJ: Confidence, float32 (T, P, J); 0 where a point was not detected.
        fps: Frame rate in frames per second.
        layout: Names of the J points.
        has_confidence: Whether the file stores confidences; if not, all of them are 1.
        has_whole_fps: Whether the file can store whole frame rates only, so that a rate of 29.97
            may have become 29.
        num_people: Number of people that the file shows, whose points may have been left out.
        frame_size: Width and height of the video in the unit of the points; None if unknown.
    """

    points_TPJC: NDArray[np.float32]
    confidence_TPJ: NDArray[np.float32]
    fps: float
    layout: PointLayout
    has_confidence: bool = True
    has_whole_fps: bool = False
    num_people: int = 1
    frame_size: tuple[int, int] | None = None
