"""Joints of the parametric models SMPL-X and MANO, in the order of the package `smplx`.

Order and names: `JOINT_NAMES` in smplx/joint_names.py; bones: `kintree_table` of the models.
"""

from kinesweep.core.skeleton.keypoints import HAND_21 as HAND_POINTS
from kinesweep.core.skeleton.keypoints import SMPL_22
from kinesweep.core.skeleton.layouts.layout_builder import build_layout, build_tree_layout
from kinesweep.core.skeleton.point_graph import ROOT

_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_TIPS = ("thumb", "index", "middle", "ring", "pinky")

SMPLX_55 = build_layout(
    "smplx_55",
    (
        *SMPL_22,
        *("jaw", "left_eye_smplhf", "right_eye_smplhf"),
        *(
            f"{side}_{finger}{joint}"
            for side in ("left", "right")
            for finger in _FINGERS
            for joint in (1, 2, 3)
        ),
    ),
    (
        "pelvis spine1 spine2 spine3 neck head jaw",
        "pelvis {}_hip {}_knee {}_ankle {}_foot",
        "spine3 {}_collar {}_shoulder {}_elbow {}_wrist",
        "head {}_eye_smplhf",
        *(f"{{}}_wrist {{}}_{finger}1 {{}}_{finger}2 {{}}_{finger}3" for finger in _FINGERS),
    ),
)
"""The joints that SMPL-X rotates: 22 of the body, jaw, eyes, and 15 of each hand.

The output `joints` of the model begins with them; landmarks on its surface follow (127 or 144
points), which are to be cut off, or declared in the recipe.
"""
MANO_21 = build_layout(
    "mano_21",
    (
        "wrist",
        *(f"{finger}{joint}" for finger in _FINGERS for joint in (1, 2, 3)),
        *(f"{finger}_tip" for finger in _TIPS),
    ),
    tuple(f"wrist {finger}1 {finger}2 {finger}3 {finger}_tip" for finger in _FINGERS),
)
"""The 16 joints of MANO in its own order (index, middle, little, ring, thumb), then five tips.

The tips go from thumb to little finger, as in HO-3D and `smplx`.

MANO layers that reorder their joints (manopth, manotorch), FreiHAND, OpenPose and MediaPipe go from
thumb to little finger with the tip last: that is `hand_21`.
"""
HAND_21 = build_tree_layout(
    "hand_21",
    HAND_POINTS,
    # Four joints a finger; their bases join the wrist.
    [ROOT, *(0 if index % 4 == 1 else index - 1 for index in range(1, len(HAND_POINTS)))],
)
"""A single hand in the order of MediaPipe, OpenPose, FreiHAND and manopth."""
