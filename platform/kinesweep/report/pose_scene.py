"""Scenes: a clip's points for drawing, upright, with bones, sides, and a mask of detected points.

A `PoseScene` is built from features (T, J·C) and the names of their points, and is the same for an
image, a video and a page. Pose features are in camera coordinates with y pointing
down, as pose-format, MediaPipe and HybrIK write them. Where y points up (HumanML3D), the points are
rotated by 180° about the x axis. The direction is determined from the names of the points over the
whole clip, so a handstand of a second remains a handstand.

Shapes: T frames, J points, C coordinates (2 or 3).
"""

import re
from collections.abc import Collection, Mapping
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
# `forearm` and `ForeArm` contain `ear`.
_HEAD_PATTERN = re.compile(r"head|nose|neck|eye|(?<!for)ear|face|mouth", re.IGNORECASE)
_LEG_PATTERN = re.compile(r"hip|pelvis|knee|ankle|heel|toe|foot", re.IGNORECASE)
# Compared with the head if hips and legs are not visible.
_SHOULDER_PATTERN = re.compile(r"shoulder", re.IGNORECASE)

# Ratio of depth to height below which points count as flat: a side view would be a mere line.
_MIN_DEPTH_RATIO = 0.05


@dataclass(frozen=True)
class PoseScene:
    """The points of one feature stream over time.

    Attributes:
        stream: Name of the feature stream.
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
        """Return the duration of the stream in seconds."""
        return len(self.points_TJC) / self.rate_hz


def load_clip_scenes(store: Store, record: ClipRecord) -> list[PoseScene]:
    """Load a clip's features and build the scene of each stream that consists of points.

    Args:
        store: Feature store.
        record: Clip of the store.

    Returns:
        Scenes in the order of the store's streams.

    Raises:
        InputError: If none of the streams consists of points, or one does not have two or three
            coordinates per point.
    """
    features = store.get_features(record)
    streams = store.schema.streams
    layouts = {name: stream.layout for name, stream in streams.items()}
    masked_streams = [name for name, stream in streams.items() if stream.has_mask]
    return build_scenes(features, layouts, record.rates_hz, str(store.folder), masked_streams)


def build_scenes(
    features: Mapping[str, NDArray[np.floating]],
    layouts: Mapping[str, PointLayout | None],
    rates_hz: Mapping[str, float],
    origin: str,
    masked_streams: Collection[str] = (),
) -> list[PoseScene]:
    """Build the scenes of the streams whose layout of points is known.

    Args:
        features: Stream → features (T, D).
        layouts: Stream → layout of its points; None if the features are not points.
        rates_hz: Stream → frame rate in Hz.
        origin: Origin of the features, for error messages.
        masked_streams: Streams whose points have their detection mask as a further value.

    Returns:
        Scenes in the order of `features`.

    Raises:
        InputError: If no stream has a layout, or one does not have two or three coordinates per
            point.
    """
    scenes = [
        build_scene(name, x_TD, layout, rates_hz[name], name in masked_streams)
        for name, x_TD in features.items()
        if (layout := layouts[name]) is not None
    ]
    if not scenes:
        stream_names = ", ".join(f"`{name}`" for name in features)
        raise InputError(
            f"`{origin}` contains no points to draw: its streams ({stream_names}) are features"
            " without a layout of points; only streams of poses have one"
        )
    return scenes


def build_scene(
    stream: str,
    x_TD: NDArray[np.floating],
    layout: PointLayout,
    rate_hz: float,
    has_mask: bool = False,
) -> PoseScene:
    """Build the scene of one feature stream.

    Args:
        stream: Name of the feature stream.
        x_TD: Features; D is the number of points times the number of coordinates.
        layout: Layout of the points.
        rate_hz: Frame rate in Hz.
        has_mask: Whether each point has its detection mask as a further value.

    Raises:
        InputError: If the features do not have two or three coordinates per point.
    """
    # Features store the points one after the other, each with its C coordinates.
    num_values, remainder = divmod(x_TD.shape[1], layout.num_points)
    num_coordinates = num_values - has_mask
    if remainder or num_coordinates not in (2, 3):
        raise InputError(
            f"the stream `{stream}` has {x_TD.shape[1]} values per frame for"
            f" {layout.num_points} points; only 2 or 3 coordinates per point can be drawn"
        )
    values_TJV = x_TD.astype(np.float32).reshape(len(x_TD), -1, num_values)
    # A copy, because turning the points upright changes them.
    points_TJC = values_TJV[..., :num_coordinates].copy()
    skeleton = find_skeleton(layout)
    if has_mask:
        detected_TJ = values_TJV[..., num_coordinates] > 0
    else:
        detected_TJ = _find_detected_points(points_TJC, skeleton)
    qualified_names = [
        (component, name) for component, names in layout.components for name in names
    ]
    if _is_upside_down(points_TJC, detected_TJ, qualified_names):
        points_TJC[:, :, 1:] *= -1  # rotation about x; flipping y alone would swap left and right
    return PoseScene(
        stream=stream,
        points_TJC=points_TJC,
        detected_TJ=detected_TJ,
        names=tuple(name for _, name in qualified_names),
        bones=skeleton.bones if skeleton is not None else (),
        sides=_list_sides(layout),
        rate_hz=rate_hz,
    )


def _find_detected_points(
    points_TJC: NDArray[np.float32], skeleton: Skeleton | None
) -> NDArray[np.bool_]:
    """Return which points were detected: those with a non-zero coordinate, and centered roots.

    If poses are relative to a root, the root is zero in every frame although it was detected. This
    is assumed if all other points were detected in at least one frame.

    Args:
        points_TJC: Coordinates.
        skeleton: Skeleton of the points; None if it is unknown.

    Returns:
        Mask, (T, J).
    """
    # An undetected point is stored as zeros.
    detected_TJ = (points_TJC != 0).any(axis=2)
    parents = skeleton.parents if skeleton is not None else ()
    for root in [joint for joint, parent in enumerate(parents) if parent == ROOT]:
        others_TJ = np.delete(detected_TJ, root, axis=1)
        if not detected_TJ[:, root].any() and others_TJ.all(axis=1).any():
            detected_TJ[:, root] = others_TJ.any(axis=1)
    return detected_TJ


def _is_upside_down(
    points_TJC: NDArray[np.float32],
    detected_TJ: NDArray[np.bool_],
    qualified_names: list[tuple[str, str]],
) -> bool:
    """Return whether the head is below the legs in most frames, if y points down.

    The shoulders replace the legs if no frame shows head and legs. Without them, the clip is
    assumed to be upright.

    Args:
        points_TJC: Coordinates.
        detected_TJ: Whether a point was detected.
        qualified_names: Names of the component and the point, for each of the J points.
    """
    # The component counts for the head only: every point of FACE_LANDMARKS is part of it.
    is_head_J = [
        _HEAD_PATTERN.search(f"{component} {name}") is not None
        for component, name in qualified_names
    ]
    head_y_T = _compute_mean_y(points_TJC, detected_TJ & is_head_J)
    for body_pattern in (_LEG_PATTERN, _SHOULDER_PATTERN):
        is_body_J = [body_pattern.search(name) is not None for _, name in qualified_names]
        difference_T = head_y_T - _compute_mean_y(points_TJC, detected_TJ & is_body_J)
        # y points down, so a positive difference means that the head is lower. The median over the
        # clip ignores short inversions.
        if np.isfinite(difference_T).any():
            return bool(np.nanmedian(difference_T) > 0)
    return False


def _compute_mean_y(
    points_TJC: NDArray[np.float32], selected_TJ: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean y of the selected points in each frame, (T,); NaN in frames without any."""
    count_T = selected_TJ.sum(axis=1)
    sum_T = np.where(selected_TJ, points_TJC[:, :, 1], 0).sum(axis=1, dtype=float)
    return np.divide(sum_T, count_T, out=np.full(len(sum_T), np.nan), where=count_T > 0)


def _list_sides(layout: PointLayout) -> tuple[int, ...]:
    """Return the side of each point; pairs that a layout states go before names."""
    tree = layout.tree
    if tree is not None:
        left_or_middle = [LEFT if i in tree.left else MIDDLE for i in range(layout.num_points)]
        return tuple(
            RIGHT if tree.mirror[i] in tree.left else side for i, side in enumerate(left_or_middle)
        )
    return tuple(
        _get_side(component, name) for component, names in layout.components for name in names
    )


def _get_side(component: str, name: str) -> int:
    """Return the side of a point: `LEFT`, `MIDDLE` or `RIGHT`.

    Args:
        component: Name of the point's component, such as `LEFT_HAND_LANDMARKS`.
        name: Name of the point, which has precedence over the component.
    """
    for side_text in (name, component):
        if _LEFT_PATTERN.search(side_text):
            return LEFT
        if _RIGHT_PATTERN.search(side_text):
            return RIGHT
    return MIDDLE
