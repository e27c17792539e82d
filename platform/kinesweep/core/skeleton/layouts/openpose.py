"""Points of OpenPose's experimental model BODY_135: body, hands without wrists, and face.

Order and names: `POSE_BODY_135_BODY_PARTS` in OpenPose's poseParameters.cpp. The face has the 68
landmarks of iBUG and two pupils, so its bones and mirror images are those of the other estimators.
"""

from kinesweep.core.skeleton.layouts.layout_builder import build_layout, build_tree_layout
from kinesweep.core.skeleton.point_graph import ROOT, find_named_sides
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.symmetry import IBUG_MIRROR
from kinesweep.core.skeleton.topology import find_parents

_HAND = (
    *("Thumb1CMC", "Thumb2Knuckles", "Thumb3IP", "Thumb4FingerTip"),
    *(
        f"{finger}{joint}"
        for finger in ("Index", "Middle", "Ring", "Pinky")
        for joint in ("1Knuckles", "2PIP", "3DIP", "4FingerTip")
    ),
)
_BODY_25B = (
    *("Nose", "LEye", "REye", "LEar", "REar"),
    *(
        f"{side}{joint}"
        for joint in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
        for side in "LR"
    ),
    *("UpperNeck", "HeadTop"),
    *(f"{side}{joint}" for side in "LR" for joint in ("BigToe", "SmallToe", "Heel")),
)
_SIDE_CHAINS = (
    "Nose LEye LEar",
    "UpperNeck LShoulder LElbow LWrist",
    "LShoulder LHip LKnee LAnkle LHeel",
    "LAnkle LBigToe",
    "LAnkle LSmallToe",
    *(
        f"LWrist {' '.join(f'L{joint}' for joint in _HAND[start : start + 4])}"
        for start in range(0, len(_HAND), 4)
    ),
)
_NUM_FACE_POINTS = len(IBUG_MIRROR)


def _build_body_135() -> PointLayout:
    """Build the layout of BODY_135 from the body with hands, and the face."""
    body_points = (*_BODY_25B, *(f"{side}{joint}" for side in "LR" for joint in _HAND))
    # In these names, a capital L begins only the left side of a point.
    right_chains = (chain.replace("L", "R") for chain in _SIDE_CHAINS)
    chains = ("Nose UpperNeck", "Nose HeadTop", *_SIDE_CHAINS, *right_chains)
    body = build_layout("body", body_points, chains)
    face_points = tuple(f"Face{number}" for number in range(_NUM_FACE_POINTS))
    face_parents = find_parents(PointLayout((("BODY", ("nose",)), ("FACE", face_points))))
    assert face_parents is not None and body.tree is not None
    # The face follows the body, but is one point further from the nose that precedes it here.
    shift = len(body_points) - 1
    parents = [*body.tree.parents, *(p + shift if p > 0 else p for p in face_parents[1:])]
    assert ROOT not in parents[1:]
    face_pairs = [
        (len(body_points) + left, len(body_points) + right)
        for right, left in enumerate(IBUG_MIRROR)
        if right < left
    ]
    pairs = [*find_named_sides(body_points)[0], *face_pairs]
    return build_tree_layout("openpose_135", (*body_points, *face_points), parents, pairs)


OPENPOSE_135 = _build_body_135()
