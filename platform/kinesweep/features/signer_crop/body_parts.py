"""The points of a layout that belong to a part of the body: face or a hand."""

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout

# Body part → its component names for MediaPipe and OpenPose in pose-format's layouts.
_COMPONENTS: dict[str, tuple[str, ...]] = {
    "face": ("FACE_LANDMARKS", "face_keypoints_2d"),
    "left_hand": ("LEFT_HAND_LANDMARKS", "hand_left_keypoints_2d"),
    "right_hand": ("RIGHT_HAND_LANDMARKS", "hand_right_keypoints_2d"),
}


def find_part_points(layout: PointLayout, part: str) -> NDArray[np.intp]:
    """Find the indices of a part's points in a layout.

    Raises:
        ClipError: If the layout does not contain the part; reason `unknown_layout`.
    """
    start = 0
    for name, points in layout.components:
        # A component may be present without points, if a selection left them out.
        if name in _COMPONENTS[part] and points:
            return np.arange(start, start + len(points))
        start += len(points)
    components = ", ".join(f"{name} ({len(points)})" for name, points in layout.components)
    raise ClipError(
        f"the file has the point components {components}: this crop is of `{part}`, which"
        f" needs {' or '.join(f'`{name}`' for name in _COMPONENTS[part])}",
        "unknown_layout",
    )
