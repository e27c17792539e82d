"""Keypoint selection: shoulders, legs and the 178 points of MediaPipe Holistic.

A layout is recognized by the names of its components and points, never by the number of points, so
a file that lacks points is rejected instead of misread. The names are those that estimators write
through pose-format: MediaPipe Holistic (with or without refined face and world landmarks), OpenPose
(137 and 135 points), AlphaPose (133, 136) and COCO WholeBody 133. `select_keypoints` caches its
result per layout, because one lookup takes about 0.3 ms.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.keypoint_sets import KEYPOINT_SETS
from kinesweep.core.skeleton.keypoints import BODY_8, FACE_128, HAND_21
from kinesweep.core.skeleton.pose import PointLayout

HAND_SIZE = len(HAND_21)

# Component and names of the two points whose distance is the unit of length of a pose. The first
# entry that a layout contains is used.
_SHOULDER_POINTS = (
    ("POSE_LANDMARKS", "RIGHT_SHOULDER", "LEFT_SHOULDER"),
    ("pose_keypoints_2d", "RShoulder", "LShoulder"),
    ("BODY_135", "RShoulder", "LShoulder"),
    ("BODY_133", "right_shoulder", "left_shoulder"),
    ("BODY_136", "right_shoulder", "left_shoulder"),
    ("BODY", "right_shoulder", "left_shoulder"),
)

_LEG_WORDS = ("hip", "knee", "ankle", "heel", "toe", "foot_index")
_BODY_COMPONENTS = frozenset(
    {component for component, _, _ in _SHOULDER_POINTS} | {"POSE_WORLD_LANDMARKS"}
)


@dataclass(frozen=True)
class KeypointSelection:
    """The selected points of a layout.

    Attributes:
        points: Indices of the selected points among those of the file, in feature order; None
            selects all points.
        legs: Positions of the hip and leg points to mask among the selected points.
        shoulders: Positions of the right and left shoulder among the selected points; None if the
            layout has no known shoulders.
        layout: Point layout of the selected points.
    """

    points: NDArray[np.intp] | None
    legs: NDArray[np.intp]
    shoulders: tuple[int, int] | None
    layout: PointLayout


@lru_cache(maxsize=64)
def select_keypoints(layout: PointLayout, points: str, hide_legs: bool) -> KeypointSelection:
    """Select points of a layout by their names, and locate shoulders and legs among them.

    Args:
        layout: Point layout of the file.
        points: Name of the selection: `holistic_178`, `all` or that of a published keypoint set.
        hide_legs: Whether to locate hip and leg points, which the caller then masks; if not,
            `legs` of the result is empty.

    Raises:
        ClipError: If the layout lacks required points, or leg points are to be hidden and it is
            unknown which points they are; reason `unknown_layout`.
    """
    # Dicts keep insertion order, so the keys are also the points in file order.
    index_by_name = {
        (component, point): position
        for position, (component, point) in enumerate(
            (component, point) for component, names in layout.components for point in names
        )
    }
    if points in KEYPOINT_SETS:
        indices = _find_set_points(layout, index_by_name, points)
    elif points == "holistic_178":
        indices = _find_holistic_178_points(layout, index_by_name)
    else:
        indices = list(index_by_name.values())
    names = list(index_by_name)
    selected = [names[index] for index in indices]
    # Without this check the legs of an unknown body would silently stay in the features.
    if hide_legs and not any(_is_known_component(component) for component, _ in layout.components):
        raise _make_unknown_layout_error(
            layout, "its leg points are unknown; set `features.hide_legs: false`"
        )
    legs = [index for index, name in enumerate(selected) if hide_legs and _is_leg_point(*name)]
    point_indices = None if points == "all" else np.array(indices, np.intp)
    return KeypointSelection(
        point_indices,
        np.array(legs, np.intp),
        _find_shoulders(selected),
        _group_by_component(selected),
    )


def make_no_shoulders_error(layout: PointLayout) -> ClipError:
    """Make the error for a layout that cannot be normalized because its shoulders are unknown."""
    return _make_unknown_layout_error(
        layout, "its shoulder points are unknown; set `features.normalize: none`"
    )


def _find_holistic_178_points(
    layout: PointLayout, index_by_name: dict[tuple[str, str], int]
) -> list[int]:
    """Find the indices of the 178 points in the file: 8 body, 128 face, 21 left and 21 right hand.

    Args:
        layout: Point layout of the file.
        index_by_name: Component and point name → index of the point in the file.

    Raises:
        ClipError: If a point is missing; reason `unknown_layout`.
    """
    required = [("POSE_LANDMARKS", name) for name in BODY_8]
    required += [("FACE_LANDMARKS", str(landmark)) for landmark in FACE_128]
    for component in ("LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS"):
        points = dict(layout.components).get(component, ())
        if len(points) != HAND_SIZE:
            raise _make_unknown_layout_error(
                layout, f"`holistic_178` needs {HAND_SIZE} points of `{component}`"
            )
        required += [(component, point) for point in points]
    missing = [name for name in required if name not in index_by_name]
    if missing:
        component, point = missing[0]
        raise _make_unknown_layout_error(
            layout, f"`holistic_178` needs point `{point}` of `{component}`"
        )
    return [index_by_name[name] for name in required]


def _find_set_points(
    layout: PointLayout, index_by_name: dict[tuple[str, str], int], name: str
) -> list[int]:
    """Find the indices of the points of a published keypoint set in the file.

    Args:
        layout: Point layout of the file.
        index_by_name: Component and point name → index of the point in the file.
        name: Name of the keypoint set.

    Raises:
        ClipError: If a point is missing; reason `unknown_layout`.
    """
    keypoint_set, components = KEYPOINT_SETS[name], dict(layout.components)
    needs = f"`{name}` needs {keypoint_set.layout}"
    indices = []
    for part in keypoint_set.parts:
        component = next((known for known in part.components if known in components), None)
        if component is None:
            raise _make_unknown_layout_error(layout, f"{needs}, with `{part.components[0]}`")
        # The 21 points of a hand are in the same order in every layout, under other names.
        is_hand = len(part.points) == HAND_SIZE == len(components[component])
        for point in components[component] if is_hand else part.points:
            if (component, point) not in index_by_name:
                raise _make_unknown_layout_error(
                    layout, f"{needs}, with `{point}` of `{component}`"
                )
            indices.append(index_by_name[component, point])
    return indices


def _group_by_component(names: list[tuple[str, str]]) -> PointLayout:
    """Build a point layout from names (component, point), without changing their order.

    Consecutive points of the same component form one component of the layout.
    """
    groups = groupby(names, key=lambda name: name[0])
    return PointLayout(
        tuple((component, tuple(point for _, point in group)) for component, group in groups)
    )


def find_upper_body_points(layout: PointLayout) -> NDArray[np.intp]:
    """Find the indices of all points of a layout without hips, legs and world landmarks.

    Raises:
        ClipError: If the layout is of no known body; reason `unknown_layout`.
    """
    if not any(_is_known_component(component) for component, _ in layout.components):
        raise _make_unknown_layout_error(layout, "its leg points are unknown")
    names = [(component, point) for component, points in layout.components for point in points]
    kept = [
        index
        for index, (component, point) in enumerate(names)
        # World landmarks are in meters, relative to the hips.
        if component != "POSE_WORLD_LANDMARKS" and not _is_leg_point(component, point)
    ]
    return np.array(kept, np.intp)


def _find_shoulders(names: list[tuple[str, str]]) -> tuple[int, int] | None:
    """Find the positions of the right and the left shoulder among names (component, point).

    The result is None if no known pair of shoulders is among them.
    """
    for component, right, left in _SHOULDER_POINTS:
        if (component, right) in names and (component, left) in names:
            return names.index((component, right)), names.index((component, left))
    return None


def _is_leg_point(component: str, point: str) -> bool:
    """Return whether a point belongs to a leg or hip of a known body.

    Examples are `LEFT_HIP`, `RHip` and `LBigToe`.
    """
    return component in _BODY_COMPONENTS and any(word in point.lower() for word in _LEG_WORDS)


def _is_known_component(component: str) -> bool:
    """Return whether a component is a known body or is named as in MediaPipe or OpenPose."""
    return component in _BODY_COMPONENTS or component.endswith(("_LANDMARKS", "_keypoints_2d"))


def _make_unknown_layout_error(layout: PointLayout, problem: str) -> ClipError:
    """Make the error for an unsupported point layout; `problem` is a clause that explains it."""
    components = ", ".join(f"{name} ({len(points)})" for name, points in layout.components)
    return ClipError(f"the file has the point components {components}: {problem}", "unknown_layout")
