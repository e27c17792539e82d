"""Joints of Microsoft's depth cameras, in the order of their enumerations.

The SDK of the Kinect lists joints in `NUI_SKELETON_POSITION_INDEX` (first version), `JointType`
(second) and `k4abt_joint_id_t` (Azure Kinect). NTU RGB+D was recorded with the second version and
stores its joints in the same order, counted from 1.
"""

from kinesweep.core.skeleton.layouts.layout_builder import build_layout

_SIDES = ("left", "right")
_LIMBS = tuple(
    f"{joint}_{side}"
    for joints in (("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot"))
    for side in _SIDES
    for joint in joints
)
_KINECT_V2_POINTS = (
    *("spine_base", "spine_mid", "neck", "head"),
    *_LIMBS,
    "spine_shoulder",
    *(f"{joint}_{side}" for side in _SIDES for joint in ("hand_tip", "thumb")),
)
_KINECT_V2_BODY = (
    "spine_base spine_mid spine_shoulder neck head",
    "spine_shoulder shoulder_{} elbow_{} wrist_{} hand_{}",
    "spine_base hip_{} knee_{} ankle_{} foot_{}",
)

KINECT_V1_20 = build_layout(
    "kinect_v1_20",
    ("hip_center", "spine", "shoulder_center", "head", *_LIMBS),
    (
        "hip_center spine shoulder_center head",
        "shoulder_center shoulder_{} elbow_{} wrist_{} hand_{}",
        "hip_center hip_{} knee_{} ankle_{} foot_{}",
    ),
)
"""Kinect for Windows SDK 1.8, `NUI_SKELETON_POSITION_INDEX`; bones: its hierarchy of bones."""
KINECT_V2_25 = build_layout(
    "kinect_v2_25",
    _KINECT_V2_POINTS,
    (*_KINECT_V2_BODY, "hand_{} hand_tip_{}", "wrist_{} thumb_{}"),
)
"""Kinect for Windows SDK 2.0, `JointType`; bones: those of its sample BodyBasics."""
NTU_RGBD_25 = build_layout(
    "ntu_rgbd_25",
    _KINECT_V2_POINTS,
    (*_KINECT_V2_BODY, "hand_{} thumb_{} hand_tip_{}"),
)
"""NTU RGB+D: the joints of `kinect_v2_25`; bones: `neighbor_1base` of ST-GCN (arXiv 1801.07455),
which joins the tip of the hand to the thumb."""
AZURE_KINECT_32 = build_layout(
    "azure_kinect_32",
    (
        *("pelvis", "spine_navel", "spine_chest", "neck"),
        *(
            f"{joint}_{side}"
            for side in _SIDES
            for joint in ("clavicle", "shoulder", "elbow", "wrist", "hand", "handtip", "thumb")
        ),
        *(f"{joint}_{side}" for side in _SIDES for joint in ("hip", "knee", "ankle", "foot")),
        *("head", "nose", "eye_left", "ear_left", "eye_right", "ear_right"),
    ),
    (
        "pelvis spine_navel spine_chest neck head nose",
        "spine_chest clavicle_{} shoulder_{} elbow_{} wrist_{} hand_{} handtip_{}",
        "wrist_{} thumb_{}",
        "pelvis hip_{} knee_{} ankle_{} foot_{}",
        "head eye_{}",
        "head ear_{}",
    ),
)
"""Azure Kinect Body Tracking SDK, `k4abt_joint_id_t`; bones: its joint hierarchy."""
