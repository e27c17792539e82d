"""Joints of SMPL as a pose: what estimators return, checked and reduced to the 22 of the body.

Estimators return 22, 24 or 29 joints, which begin with the 22 joints of SMPL's body in SMPL's
order; SMPL itself adds two hands, and HybrIK five end points. A joint or a person that was not
found is NaN and gets confidence 0, so that `features.missing` decides about it as about any other
missing point. This module also runs in environments of estimators and imports pose-format late.

Shapes: T frames, P people, K joints as returned, J = 22 joints of the body.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.skeleton.keypoints import SMPL_22

NUM_JOINTS = (22, 24, 29)
"""Numbers of joints that begin with those of SMPL's body."""
ARRAY_NAMES = ("joints", "pred_xyz_24_struct", "pred_xyz_29", "pred_xyz_24")
"""Names under which a file may hold joints: the general one, and those of HybrIK's output."""
_PARENTS = (0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parent of each joint but the first, for the lines that viewers draw."""


def select_body_joints(joints: Any) -> NDArray[np.float32]:
    """Check joints of any accepted shape and return those of the body, float32 (T, P, 22, 3).

    Args:
        joints: Numbers (T, K, 3), (T, P, K, 3) or (T, K·3), NaN where a joint was not found.

    Raises:
        ValueError: If the shape is another one, or a number is infinite.
    """
    x = np.asarray(joints, np.float32)
    if x.ndim == 2 and x.shape[1] in [3 * count for count in NUM_JOINTS]:
        x = x.reshape(len(x), -1, 3)
    # One person is the common case, for which functions leave out the axis.
    x_TPKC = x[:, None] if x.ndim == 3 else x
    if x_TPKC.ndim != 4 or x_TPKC.shape[2] not in NUM_JOINTS or x_TPKC.shape[3] != 3:
        counts = ", ".join(map(str, NUM_JOINTS))
        raise ValueError(
            f"joints have the shape {np.shape(joints)}; they must be (frames, joints, 3) or"
            f" (frames, people, joints, 3), with {counts} joints of SMPL"
        )
    if np.isinf(x_TPKC).any():
        raise ValueError("joints contain infinite numbers; a joint that was not found is NaN")
    return x_TPKC[:, :, : len(SMPL_22)]


def select_array(arrays: Mapping[str, Any]) -> Any:
    """Select the joints of a file with several arrays.

    Raises:
        ValueError: If no array has a known name and there is not exactly one.
    """
    # In this order: HybrIK's files hold several arrays, and the general name wins.
    for name in ARRAY_NAMES:
        if name in arrays:
            return arrays[name]
    names = list(arrays)
    if len(names) == 1:
        return arrays[names[0]]
    raise ValueError(
        f"the file holds {', '.join(names) or 'nothing'}; it must hold one array or one of"
        f" {', '.join(ARRAY_NAMES)}"
    )


def build_smpl_pose(joints: Any, fps: float, width: int, height: int) -> Any:
    """Build a pose of the joints of SMPL's body.

    Args:
        joints: Joints in a form that `select_body_joints` accepts.
        fps: Frames per second.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.

    Returns:
        A `pose_format.Pose` with T frames and the component `SMPL`.

    Raises:
        ValueError: If the joints have another form.
    """
    from pose_format import Pose
    from pose_format.numpy.pose_body import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    x_TPJC = select_body_joints(joints)
    # A joint with one unknown coordinate is not found as a whole.
    found_TPJ = np.isfinite(x_TPJC).all(axis=3)
    limbs = list(zip(range(1, len(SMPL_22)), _PARENTS, strict=True))
    component = PoseHeaderComponent("SMPL", list(SMPL_22), limbs, [(0, 0, 0)], "XYZC")
    header = PoseHeader(0.2, PoseHeaderDimensions(width, height, 0), [component])
    # A pose file may hold anything where the confidence is 0, but no reader expects NaN.
    data = np.where(np.expand_dims(found_TPJ, 3), x_TPJC, 0).astype(np.float32)
    return Pose(header, NumPyPoseBody(fps, data, found_TPJ.astype(np.float32)))
