"""Prepare a clip's points for drawing: upright, with bones, sides, and a mask of detected points.

Features (T, J·C) with the names of their points enter, and a `PoseScene` comes out, which is the
same for an image, a video and a page. Pose features are in camera coordinates with y pointing
down, as pose-format, MediaPipe and HybrIK write them. Where y points up (HumanML3D), the points are
rotated by 180° about the x axis. The direction is determined from the names of the points over the
whole clip, so a handstand of a second remains a handstand.

Shapes: T frames, J points, C coordinates (2 or 3).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton, find_skeleton
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord

LEFT, MIDDLE, RIGHT = -1, 0, 1
# Matches `left_wrist`, `LEFT_HAND_LANDMARKS` and OpenPose's `LWrist`, but not `LIP`.
_LEFT_PATTERN = re.compile(r"(?i:left)|^L(?=[A-Z][a-z])")
_RIGHT_PATTERN = re.compile(r"(?i:right)|^R(?=[A-Z][a-z])")
_HEAD_PATTERN = re.compile(r"head|nose|neck|eye|ear|face|mouth", re.IGNORECASE)
_LEG_PATTERN = re.compile(r"hip|pelvis|knee|ankle|heel|toe|foot", re.IGNORECASE)
# Compared with the head if hips and legs are not visible.
_SHOULDER_PATTERN = re.compile(r"shoulder", re.IGNORECASE)

# Ratio of depth to height below which points count as flat: a side view would be a mere line.
_MIN_DEPTH_RATIO = 0.05


@dataclass(frozen=True)
class PoseScene:
    """The points of one stream over time.

    Attributes:
        stream: Name of the stream.
        points_TJC: Coordinates, float32; x points right, y down, z away from the viewer.
        detected_TJ: Whether a point was detected, bool.
        names: Names of the J points.
        bones: Pairs (child, parent) of point indices; empty if the skeleton is unknown.
        sides: Side of the person that each point is on: `LEFT`, `MIDDLE` or `RIGHT`.
        rate_hz: Frame rate in Hz.
    """

    stream: str
    points_TJC: NDArray[np.float32]
    detected_TJ: NDArray[np.bool_]
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    sides: tuple[int, ...]
    rate_hz: float

    @property
    def is_flat(self) -> bool:
        """Return whether the points are two-dimensional or have almost no depth."""
        if self.points_TJC.shape[2] == 2 or not self.detected_TJ.any():
            return True
        _, height, depth = np.ptp(self.points_TJC[self.detected_TJ], axis=0).tolist()
        return depth < _MIN_DEPTH_RATIO * height

    @property
    def duration_s(self) -> float:
        """Return the duration in seconds."""
        return len(self.points_TJC) / self.rate_hz


def load_clip_scenes(store: Store, record: ClipRecord) -> list[PoseScene]:
    """Load a clip's features and build the scene of each stream of points, in the store's order.

    Raises:
        InputError: If none of its streams consists of points.
    """
    features = store.get_features(record)
    layouts = {name: stream.layout for name, stream in store.schema.streams.items()}
    return build_scenes(features, layouts, record.rates_hz, str(store.folder))


def build_scenes(
    features: Mapping[str, NDArray[np.floating]],
    layouts: Mapping[str, PointLayout | None],
    rates_hz: Mapping[str, float],
    origin: str,
) -> list[PoseScene]:
    """Build the scenes of the streams whose layout of points is known.

    Args:
        features: Stream → features (T, D).
        layouts: Stream → layout of its points; None if the features are not points.
        rates_hz: Stream → frame rate in Hz.
        origin: Origin of the features, for error messages.

    Raises:
        InputError: If no stream has a layout.
    """
    built_scenes = [
        build_scene(name, x_TD, layout, rates_hz[name])
        for name, x_TD in features.items()
        if (layout := layouts[name]) is not None
    ]
    if not built_scenes:
        streams = ", ".join(f"`{name}`" for name in features)
        raise InputError(
            f"`{origin}` contains no points to draw: its streams ({streams}) are features without a"
            " layout of points; only streams of poses have one"
        )
    return built_scenes


def build_scene(
    stream: str, x_TD: NDArray[np.floating], layout: PointLayout, rate_hz: float
) -> PoseScene:
    """Build the scene of one stream.

    Args:
        stream: Name of the stream.
        x_TD: Features; D is the number of points times the number of coordinates.
        layout: Layout of the points.
        rate_hz: Frame rate in Hz.

    Raises:
        InputError: If the features do not have two or three coordinates per point.
    """
    # Features store the points one after the other, each with its C coordinates.
    coordinates, remainder = divmod(x_TD.shape[1], layout.num_points)
    if remainder or coordinates not in (2, 3):
        raise InputError(
            f"the stream `{stream}` has {x_TD.shape[1]} values per frame for"
            f" {layout.num_points} points; only 2 or 3 coordinates per point can be drawn"
        )
    points_TJC = x_TD.astype(np.float32).reshape(len(x_TD), -1, coordinates)
    skeleton = find_skeleton(layout)
    detected_TJ = _find_detected_points(points_TJC, skeleton)
    names = [(part, name) for part, points in layout.components for name in points]
    if _is_upside_down(points_TJC, detected_TJ, names):
        points_TJC[:, :, 1:] *= -1  # rotation about x; flipping y alone would swap left and right
    return PoseScene(
        stream=stream,
        points_TJC=points_TJC,
        detected_TJ=detected_TJ,
        names=tuple(name for _, name in names),
        bones=skeleton.bones if skeleton is not None else (),
        sides=tuple(_get_side(*name) for name in names),
        rate_hz=rate_hz,
    )


def _find_detected_points(
    points_TJC: NDArray[np.float32], skeleton: Skeleton | None
) -> NDArray[np.bool_]:
    """Return which points were detected: those with a non-zero coordinate, and centered roots.

    If poses are relative to a root, the root is zero in every frame although it was detected. This
    is assumed if all other points were detected in at least one frame.
    """
    # An undetected point is stored as zeros.
    detected_TJ = (points_TJC != 0).any(axis=2)
    parents = skeleton.parents if skeleton is not None else ()
    for root in [place for place, parent in enumerate(parents) if parent == ROOT]:
        others_TJ = np.delete(detected_TJ, root, axis=1)
        if not detected_TJ[:, root].any() and others_TJ.all(axis=1).any():
            detected_TJ[:, root] = others_TJ.any(axis=1)
    return detected_TJ


def _is_upside_down(
    points_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_], names: list[tuple[str, str]]
) -> bool:
    """Return whether the head is below the legs, or the shoulders without legs, in most frames."""
    # The component counts for the head only: every point of FACE_LANDMARKS is part of it.
    high = [_HEAD_PATTERN.search(f"{part} {name}") is not None for part, name in names]
    for below in (_LEG_PATTERN, _SHOULDER_PATTERN):
        low = [below.search(name) is not None for _, name in names]
        above_T = _compute_mean_height(points_TJC, detected_TJ & high) - _compute_mean_height(
            points_TJC, detected_TJ & low
        )
        # y points down, so a positive difference means that the head is lower. The median over the
        # clip ignores short inversions.
        if np.isfinite(above_T).any():
            return bool(np.nanmedian(above_T) > 0)
    return False


def _compute_mean_height(
    points_TJC: NDArray[np.float32], chosen_TJ: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean y of the chosen points in each frame; NaN in frames without any."""
    count_T = chosen_TJ.sum(axis=1)
    sum_T = np.where(chosen_TJ, points_TJC[:, :, 1], 0).sum(axis=1, dtype=float)
    return np.divide(sum_T, count_T, out=np.full(len(sum_T), np.nan), where=count_T > 0)


def _get_side(component: str, name: str) -> int:
    """Return the side of a point by its name or by its component's (`LEFT_HAND_LANDMARKS`)."""
    # The point's own name has precedence.
    for word in (name, component):
        if _LEFT_PATTERN.search(word):
            return LEFT
        if _RIGHT_PATTERN.search(word):
            return RIGHT
    return MIDDLE
