"""What is known of point layouts: shoulders, legs, and the 178 points of MediaPipe Holistic.

A layout is recognised by the names of its components and points, never by its number of points, so
a file that lacks something is refused rather than misread. Names are those that estimators write
through pose-format: MediaPipe Holistic (with or without refined face and world landmarks), OpenPose
(137 and 135 points), AlphaPose (133, 136) and COCO WholeBody 133. Choices of points and the cost of
looking them up (about 0.3 ms) are remembered a layout.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.points import BODY_8, FACE_128, HAND_21
from kinesweep.core.pose import PointLayout

HAND_SIZE = len(HAND_21)

_SHOULDERS = (
    ("POSE_LANDMARKS", "RIGHT_SHOULDER", "LEFT_SHOULDER"),
    ("pose_keypoints_2d", "RShoulder", "LShoulder"),
    ("BODY_135", "RShoulder", "LShoulder"),
    ("BODY_133", "right_shoulder", "left_shoulder"),
    ("BODY_136", "right_shoulder", "left_shoulder"),
    ("BODY", "right_shoulder", "left_shoulder"),
)
"""Component → the points between which poses are measured."""

_LEG_WORDS = ("hip", "knee", "ankle", "heel", "toe", "foot_index")
_BODIES = frozenset({component for component, _, _ in _SHOULDERS} | {"POSE_WORLD_LANDMARKS"})


@dataclass(frozen=True)
class Selection:
    """Chosen points of a layout.

    Attributes:
        points: indices into the file's J points, in the order of the features; None for all.
        legs: places of hips and legs among the chosen points.
        shoulders: places of the right and the left shoulder among them; None where it has none.
        layout: the chosen points by name.
    """

    points: NDArray[np.intp] | None
    legs: NDArray[np.intp]
    shoulders: tuple[int, int] | None
    layout: PointLayout


@lru_cache(maxsize=64)
def select(layout: PointLayout, points: str, hide_legs: bool) -> Selection:
    """Indices for a choice of points.

    Args:
        layout: of the file.
        points: `holistic_178` or `all`.
        hide_legs: whether legs must be found.

    Raises:
        ClipError: reason `unknown_layout`.
    """
    index = {
        (component, point): place
        for place, (component, point) in enumerate(
            (component, point) for component, names in layout.components for point in names
        )
    }
    chosen = _holistic_178(layout, index) if points == "holistic_178" else list(index.values())
    names = list(index)
    kept = [names[place] for place in chosen]
    if hide_legs and not any(_is_known(component) for component, _ in layout.components):
        raise _unknown(layout, "its legs are not known; set `features.hide_legs: false`")
    legs = [place for place, name in enumerate(kept) if hide_legs and _is_leg(*name)]
    where = np.array(chosen, np.intp) if points == "holistic_178" else None
    return Selection(where, np.array(legs, np.intp), _shoulders(kept), _grouped(kept))


def no_shoulders(layout: PointLayout) -> ClipError:
    """The error for a layout without shoulders that are to be normalised by."""
    return _unknown(layout, "its shoulders are not known; set `features.normalize: none`")


def _holistic_178(layout: PointLayout, index: dict[tuple[str, str], int]) -> list[int]:
    wanted = [("POSE_LANDMARKS", name) for name in BODY_8]
    wanted += [("FACE_LANDMARKS", str(number)) for number in FACE_128]
    for component in ("LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS"):
        points = dict(layout.components).get(component, ())
        if len(points) != HAND_SIZE:
            raise _unknown(layout, f"`holistic_178` needs {HAND_SIZE} points of `{component}`")
        wanted += [(component, point) for point in points]
    missing = [name for name in wanted if name not in index]
    if missing:
        component, point = missing[0]
        raise _unknown(layout, f"`holistic_178` needs point `{point}` of `{component}`")
    return [index[name] for name in wanted]


def _grouped(names: list[tuple[str, str]]) -> PointLayout:
    """Points in their order, by component."""
    groups = groupby(names, key=lambda name: name[0])
    return PointLayout(tuple((part, tuple(point for _, point in group)) for part, group in groups))


def _shoulders(names: list[tuple[str, str]]) -> tuple[int, int] | None:
    for component, right, left in _SHOULDERS:
        if (component, right) in names and (component, left) in names:
            return names.index((component, right)), names.index((component, left))
    return None


def _is_leg(component: str, point: str) -> bool:
    return component in _BODIES and any(word in point.lower() for word in _LEG_WORDS)


def _is_known(component: str) -> bool:
    """Whether this component is a body, or a hand or face that comes with a known one."""
    return component in _BODIES or component.endswith(("_LANDMARKS", "_keypoints_2d"))


def _unknown(layout: PointLayout, text: str) -> ClipError:
    held = ", ".join(f"{name} ({len(points)})" for name, points in layout.components)
    return ClipError(f"the file's points are {held}: {text}", "unknown_layout")
