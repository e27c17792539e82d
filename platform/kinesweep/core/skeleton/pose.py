"""A pose sequence in memory, independent of the file format that it came from.

The points of every layout are named by component. Features therefore select points by name, and a
file with another layout is recognized instead of misread.

Shapes: T frames, P people, J points, C coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PointTree:
    """Bones and mirror images that a layout carries itself, because its names do not imply them.

    Attributes:
        name: Name of the skeleton.
        parents: Index of each point's parent, -1 for a root; J values.
        mirror: Index of each point's mirror image, None where it is unknown; J values.
        left: Indices of the left points of all pairs.
        center: Index of the root that motions are centered on; None: the first one.
    """

    name: str
    parents: tuple[int, ...]
    mirror: tuple[int | None, ...]
    left: tuple[int, ...] = ()
    center: int | None = None


@dataclass(frozen=True)
class PointLayout:
    """The points of a pose file or a stream, in its order.

    Attributes:
        components: Pairs of a component, such as `LEFT_HAND_LANDMARKS`, and its point names.
        tree: Bones and mirror images, for layouts that `core.skeleton.topology` does not cover.
    """

    components: tuple[tuple[str, tuple[str, ...]], ...]
    tree: PointTree | None = None

    @property
    def num_points(self) -> int:
        """Return the number of points over all components, J."""
        return sum(len(points) for _, points in self.components)

    @property
    def point_names(self) -> tuple[str, ...]:
        """Return the names of the J points without their components."""
        return tuple(name for _, names in self.components for name in names)

    def to_json(self) -> list[list[Any]] | dict[str, Any]:
        """Convert the layout to plain values for JSON: pairs of a component and its points.

        A layout with a tree becomes a mapping of `components` and `tree`.
        """
        components = [[component, list(points)] for component, points in self.components]
        # Layouts without a tree keep the form that existing stores and bundles have.
        if self.tree is None:
            return components
        tree = {
            "name": self.tree.name,
            "parents": list(self.tree.parents),
            "mirror": list(self.tree.mirror),
            "left": list(self.tree.left),
        }
        # Left out with its default, so that fingerprints of earlier stores stay valid.
        center = {} if self.tree.center is None else {"center": self.tree.center}
        return {"components": components, "tree": {**tree, **center}}

    @classmethod
    def from_json(cls, values: Sequence[Sequence[Any]] | Mapping[str, Any]) -> "PointLayout":
        """Build a layout from the output of `to_json`."""
        if not isinstance(values, Mapping):
            return cls(tuple((component, tuple(points)) for component, points in values))
        tree = values["tree"]
        return cls(
            cls.from_json(values["components"]).components,
            PointTree(
                tree["name"],
                tuple(tree["parents"]),
                tuple(tree["mirror"]),
                tuple(tree["left"]),
                tree.get("center"),
            ),
        )


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
