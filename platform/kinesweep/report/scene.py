"""A clip's points as they are drawn: upright, with bones and sides, and which of them were found.

Features come in, (T, J·C), with the names of their points; a `Scene` goes out, the same for a
picture, a film and a page. Features of poses are in the camera's coordinates, y pointing down, as
pose-format, MediaPipe and HybrIK write them; where y points up (HumanML3D) heads lie above feet
only after half a turn about x, which is told from the points' names over the whole clip, so a
handstand of a second stays one.

Shapes: T frames, J points, C coordinates (2 or 3).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.pose import PointLayout
from kinesweep.core.skeleton import ROOT, Skeleton, skeleton_of
from kinesweep.store import Store
from kinesweep.store.index import ClipRecord

LEFT, MIDDLE, RIGHT = -1, 0, 1
_LEFT = re.compile(r"(?i:left)|^L(?=[A-Z][a-z])")
_RIGHT = re.compile(r"(?i:right)|^R(?=[A-Z][a-z])")
_HIGH = re.compile(r"head|nose|neck|eye|ear|face|mouth", re.IGNORECASE)
_LOW = re.compile(r"hip|pelvis|knee|ankle|heel|toe|foot", re.IGNORECASE)
_SHOULDER = re.compile(r"shoulder", re.IGNORECASE)
"""What heads are above where hips and legs are hidden."""

_SHALLOW = 0.05
"""Depth below this share of the height is none: a side view would be a line."""


@dataclass(frozen=True)
class Scene:
    """One stream's points over time.

    Attributes:
        stream: its name.
        points_TJC: float32; x to the right, y down, z away from who looks.
        found_TJ: bool, False where a point was not found.
        names: of the J points.
        bones: pairs of points; none where the skeleton is not known.
        sides: of each point `LEFT`, `MIDDLE` or `RIGHT` of the person.
        rate_hz: frames a second.
    """

    stream: str
    points_TJC: NDArray[np.float32]
    found_TJ: NDArray[np.bool_]
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    sides: tuple[int, ...]
    rate_hz: float

    @property
    def flat(self) -> bool:
        """Whether there is a plane alone, or all but no depth."""
        if self.points_TJC.shape[2] == 2 or not self.found_TJ.any():
            return True
        _, height, depth = np.ptp(self.points_TJC[self.found_TJ], axis=0).tolist()
        return depth < _SHALLOW * height

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.points_TJC) / self.rate_hz


def scenes_of(store: Store, record: ClipRecord) -> list[Scene]:
    """A clip's streams of points, in the store's order.

    Raises:
        InputError: none of its streams holds points.
    """
    features = store.features(record)
    layouts = {name: stream.layout for name, stream in store.schema.streams.items()}
    return scenes(features, layouts, record.rates_hz, str(store.folder))


def scenes(
    features: Mapping[str, NDArray[np.floating]],
    layouts: Mapping[str, PointLayout | None],
    rates_hz: Mapping[str, float],
    where: str,
) -> list[Scene]:
    """Scenes of those streams whose points are known.

    Args:
        features: stream → (T, D).
        layouts: stream → its points; None: no points.
        rates_hz: stream → frames a second.
        where: whose they are, for messages.

    Raises:
        InputError: there is none.
    """
    found = [
        scene_of(name, x_TD, layout, rates_hz[name])
        for name, x_TD in features.items()
        if (layout := layouts[name]) is not None
    ]
    if not found:
        streams = ", ".join(f"`{name}`" for name in features)
        raise InputError(
            f"`{where}` holds no points that could be drawn: its streams ({streams}) are features"
            " without a layout of points. Streams of poses have one"
        )
    return found


def scene_of(stream: str, x_TD: NDArray[np.floating], layout: PointLayout, rate_hz: float) -> Scene:
    """The scene of one stream.

    Raises:
        InputError: its width is not two or three coordinates a point.
    """
    coordinates, rest = divmod(x_TD.shape[1], layout.num_points)
    if rest or coordinates not in (2, 3):
        raise InputError(
            f"the stream `{stream}` has {x_TD.shape[1]} values a frame for"
            f" {layout.num_points} points; only 2 or 3 coordinates a point can be drawn"
        )
    points_TJC = x_TD.astype(np.float32).reshape(len(x_TD), -1, coordinates)
    skeleton = skeleton_of(layout)
    found_TJ = _found(points_TJC, skeleton)
    names = [(part, name) for part, points in layout.components for name in points]
    if _upside_down(points_TJC, found_TJ, names):
        points_TJC[:, :, 1:] *= -1  # half a turn about x; a mere flip would swap left and right
    return Scene(
        stream=stream,
        points_TJC=points_TJC,
        found_TJ=found_TJ,
        names=tuple(name for _, name in names),
        bones=skeleton.bones if skeleton is not None else (),
        sides=tuple(_side(*name) for name in names),
        rate_hz=rate_hz,
    )


def _found(points_TJC: NDArray[np.float32], skeleton: Skeleton | None) -> NDArray[np.bool_]:
    """Points that are not all zero, and a root from which all the others are measured.

    Such a root is zero throughout though nothing else is lost, in one frame at the least.
    """
    found_TJ = (points_TJC != 0).any(axis=2)
    parents = skeleton.parents if skeleton is not None else ()
    for root in [place for place, parent in enumerate(parents) if parent == ROOT]:
        others_TJ = np.delete(found_TJ, root, axis=1)
        if not found_TJ[:, root].any() and others_TJ.all(axis=1).any():
            found_TJ[:, root] = others_TJ.any(axis=1)
    return found_TJ


def _upside_down(
    points_TJC: NDArray[np.float32], found_TJ: NDArray[np.bool_], names: list[tuple[str, str]]
) -> bool:
    """Whether heads lie below legs, or below shoulders where no leg is found, most of the time."""
    high = [_HIGH.search(f"{part} {name}") is not None for part, name in names]
    for below in (_LOW, _SHOULDER):
        low = [below.search(name) is not None for _, name in names]
        above_T = _height(points_TJC, found_TJ & high) - _height(points_TJC, found_TJ & low)
        if np.isfinite(above_T).any():
            return bool(np.nanmedian(above_T) > 0)
    return False


def _height(points_TJC: NDArray[np.float32], chosen_TJ: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean y of chosen points in each frame; no number where there are none."""
    count_T = chosen_TJ.sum(axis=1)
    sum_T = np.where(chosen_TJ, points_TJC[:, :, 1], 0).sum(axis=1, dtype=float)
    return np.divide(sum_T, count_T, out=np.full(len(sum_T), np.nan), where=count_T > 0)


def _side(component: str, name: str) -> int:
    """By the point's own name, or its component's (`LEFT_HAND_LANDMARKS`)."""
    for word in (name, component):
        if _LEFT.search(word):
            return LEFT
        if _RIGHT.search(word):
            return RIGHT
    return MIDDLE
