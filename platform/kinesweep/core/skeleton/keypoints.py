"""Point names of the known layouts of pose estimators.

The names are those that pose-format writes: the body and hands of MediaPipe Holistic, the contours
of its face mesh, and COCO WholeBody; the joints of SMPL are listed too. Bones between the points
are defined in `topology`, their mirror images in `symmetry`.
"""

_EYES = ("EYE_INNER", "EYE", "EYE_OUTER")
_ARM = ("SHOULDER", "ELBOW", "WRIST", "PINKY", "INDEX", "THUMB")
_LEG = ("HIP", "KNEE", "ANKLE", "HEEL", "FOOT_INDEX")
_SIDES = ("LEFT", "RIGHT")
BODY_33 = (
    "NOSE",
    *(f"{side}_{name}" for side in _SIDES for name in _EYES),
    *("LEFT_EAR", "RIGHT_EAR", "MOUTH_LEFT", "MOUTH_RIGHT"),
    *(f"{side}_{name}" for name in (*_ARM, *_LEG) for side in _SIDES),
)
"""The 33 body points of MediaPipe, in its order."""
BODY_8 = tuple(
    f"{side}_{joint}" for joint in ("SHOULDER", "ELBOW", "WRIST", "HIP") for side in _SIDES
)
"""The 8 body points that signing needs, in MediaPipe's order."""
_FINGERS = ("INDEX_FINGER", "MIDDLE_FINGER", "RING_FINGER", "PINKY")
HAND_21 = (
    "WRIST",
    *(f"THUMB_{joint}" for joint in ("CMC", "MCP", "IP", "TIP")),
    *(f"{finger}_{joint}" for finger in _FINGERS for joint in ("MCP", "PIP", "DIP", "TIP")),
)
"""Hand points of MediaPipe; other estimators name the same 21 points differently, in this order."""

MESH_SIDES = (
    ((10, 109, 67, 103, 54, 21, 162, 127, 234), (10, 338, 297, 332, 284, 251, 389, 356, 454)),
    (
        (93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
        (323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    ),
    ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362)),
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362)),
    ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285)),
    ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336)),
)
"""Contours of the face mesh, pairs of right and left: oval, eyes, brows (FACEMESH_CONTOURS)."""
MESH_LIPS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)
"""Lip contours of the face mesh; read backwards, each is its own mirror image."""
FACE_128 = tuple(
    sorted(
        {number for pair in MESH_SIDES for contour in pair for number in contour}
        | {number for contour in MESH_LIPS for number in contour}
    )
)
"""Numbers of all points on the contours above, sorted."""

COCO_17 = (
    "nose",
    *(f"{side}_{name}" for name in ("eye", "ear") for side in ("left", "right")),
    *(
        f"{side}_{name}"
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)
"""The 17 body points of COCO, in its order; COCO WholeBody adds the points below."""
COCO_FEET = tuple(
    f"{side}_{name}" for side in ("left", "right") for name in ("big_toe", "small_toe", "heel")
)
COCO_FACE = tuple(f"face-{number}" for number in range(68))
COCO_HAND = tuple(f"hand_{number}" for number in range(21))

OPENPOSE_25 = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist"),
    *("MidHip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle"),
    *("REye", "LEye", "REar", "LEar"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
"""The points of OpenPose's model BODY_25 (`POSE_BODY_25_BODY_PARTS` in its poseParameters.cpp)."""

SMPL_22 = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2"),
    *("left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck"),
    *("left_collar", "right_collar", "head", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
"""Body joints of SMPL without the two hands, in SMPL's order: the 22 joints of HumanML3D."""
SMPL_24 = (*SMPL_22, "left_hand", "right_hand")
"""All joints of SMPL."""
