"""Published point layouts of external pose estimators, by their number of points.

Names and limbs come from pose-format where it has them; the other tables name their source. Bodies
with names like `left_shoulder` form the component `BODY`, bodies with names like `LShoulder` the
component `pose_keypoints_2d`, because `features.keypoint_selection` knows the shoulders and legs of
these two. Faces of other schemes than iBUG's 68 points have component names without `FACE`, so that
mirroring refuses them instead of pairing wrong points.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pose_format.pose_header import PoseHeaderComponent
from pose_format.utils import alphapose, cocowholebody133_header, openpose, openpose_135
from pose_format.utils.alphapose_133 import get_alphapose_133_components

from kinesweep.core.skeleton.keypoints import COCO_17

Limbs = Sequence[tuple[int, int]]

# OpenPose, src/openpose/pose/poseParameters.cpp: POSE_COCO_BODY_PARTS and POSE_MPI_BODY_PARTS with
# their pairs; the last entry of both, the background, is not written to files.
COCO_18 = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist"),
    *("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar"),
)
_COCO_18_LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12)),
    *((12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
MPI_15 = ("Head", *COCO_18[1:14], "Chest")
_MPI_15_LIMBS = (
    *((0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 14), (14, 8), (8, 9), (9, 10)),
    *((14, 11), (11, 12), (12, 13)),
)
# MMPose, configs/_base_/datasets/mpii.py; AlphaPose, doc/output.md has the same order.
MPII_16 = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis"),
    *("thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder"),
    *("left_shoulder", "left_elbow", "left_wrist"),
)
_MPII_16_LIMBS = (
    *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (8, 12), (12, 11)),
    *((11, 10), (8, 13), (13, 14), (14, 15)),
)
# Halpe-FullBody, README: the names that pose-format gives to the body of Halpe-136.
HALPE_26 = tuple(alphapose.BODY_POINTS)
# MMPose, configs/_base_/datasets/halpe26.py: other names for the three points in the middle.
_MMPOSE_NAMES = {"head_top": "head", "pelvis": "hip"}
MMPOSE_HALPE_26 = tuple(_MMPOSE_NAMES.get(name, name) for name in HALPE_26)


@dataclass(frozen=True)
class KnownLayout:
    """A published point layout.

    Attributes:
        name: Usual name.
        make_components: Function that makes the point components of the header.
    """

    name: str
    make_components: Callable[[], list[PoseHeaderComponent]]


def make_component(name: str, points: Sequence[str], limbs: Limbs = ()) -> PoseHeaderComponent:
    """Make a point component of the header; limbs are pairs of point indices."""
    return PoseHeaderComponent(name, list(points), list(limbs), [(0, 255, 0)], "XYC")


def find_layout(
    layouts: Mapping[int, KnownLayout], num_points: int, hint: str = ""
) -> list[PoseHeaderComponent]:
    """Return the point components of the layout with a number of points.

    Args:
        layouts: Number of points → layout.
        num_points: Number of points of a person.
        hint: Clause for the error message that says what else is possible.

    Raises:
        ValueError: If no layout has this number of points; the message lists those that are known.
    """
    if num_points not in layouts:
        raise ValueError(
            f"people have {num_points} points, but known layouts have"
            f" {describe_layouts(layouts)}{hint}"
        )
    return layouts[num_points].make_components()


def describe_layouts(layouts: Mapping[int, KnownLayout]) -> str:
    """List the layouts of an estimator with their numbers of points."""
    return ", ".join(f"{number} ({layout.name})" for number, layout in sorted(layouts.items()))


def make_openpose_body(points: Sequence[str], limbs: Limbs) -> list[PoseHeaderComponent]:
    """Make the components of OpenPose output with another body than BODY_25."""
    return [make_component("pose_keypoints_2d", points, limbs), *openpose.OpenPose_Components[1:]]


def _make_hand() -> list[PoseHeaderComponent]:
    """Make the component of a single hand, whose side is unknown."""
    return [
        make_component(
            "HAND", cocowholebody133_header.HAND_POINTS, cocowholebody133_header.HAND_LIMBS
        )
    ]


def _make_halpe_68() -> list[PoseHeaderComponent]:
    """Make the components of Halpe without face: 26 body points and both hands."""
    hands = cocowholebody133_header.cocowholebody_components()[2:]
    return [make_component("BODY", HALPE_26, _HALPE_26_LIMBS), *hands]


def _make_body(points: Sequence[str], limbs: Limbs) -> Callable[[], list[PoseHeaderComponent]]:
    """Make a function that makes the component of a body alone."""
    return lambda: [make_component("BODY", points, limbs)]


def _make_numbered(name: str, num_points: int) -> Callable[[], list[PoseHeaderComponent]]:
    """Make a function that makes a component of numbered points, as MMPose names them."""
    return lambda: [make_component(name, [f"kpt-{index}" for index in range(num_points)])]


_HALPE_26_LIMBS = tuple(
    (HALPE_26.index(start), HALPE_26.index(end)) for start, end in alphapose.BODY_LIMBS_NAMES
)
_COCO_17_LIMBS = tuple(
    limb for limb in cocowholebody133_header.BODY_LIMBS if max(limb) < len(COCO_17)
)
_BODY_25B_LIMBS: Limbs = openpose.limbs_index(openpose_135.BODY_LIMBS, openpose_135.BODY_POINTS)
_BODY_25B = KnownLayout(
    "BODY_25B", lambda: make_openpose_body(openpose_135.BODY_POINTS, _BODY_25B_LIMBS)
)
_BODY_135 = KnownLayout("BODY_135", lambda: list(openpose_135.OpenPose_Components))
_MPII = KnownLayout("MPII", _make_body(MPII_16, _MPII_16_LIMBS))
_COCO = KnownLayout("COCO", _make_body(COCO_17, _COCO_17_LIMBS))
_WHOLE_BODY = KnownLayout("COCO-WholeBody", cocowholebody133_header.cocowholebody_components)
_HALPE_136 = KnownLayout("Halpe full body", alphapose.get_alphapose_components)
_FACE_68 = KnownLayout(
    "face in iBUG's scheme", lambda: [cocowholebody133_header.cocowholebody_components()[1]]
)

# OpenPose writes hands (21 + 21) and face (70) beside the body; the number is that of the body.
OPENPOSE = {
    15: KnownLayout("MPI", lambda: make_openpose_body(MPI_15, _MPI_15_LIMBS)),
    18: KnownLayout("COCO", lambda: make_openpose_body(COCO_18, _COCO_18_LIMBS)),
    25: KnownLayout("BODY_25", lambda: list(openpose.OpenPose_Components)),
    135: _BODY_135,
}
OPENPOSE_25B = {25: _BODY_25B}
OPENPOSE_135 = {135: _BODY_135}
# AlphaPose, docs/MODEL_ZOO.md and configs/: coco, halpe_26, halpe_68_noface, halpe_136,
# coco_wholebody, single_hand; MPII in its first versions.
ALPHAPOSE = {
    16: _MPII,
    17: _COCO,
    21: KnownLayout("hand", _make_hand),
    26: KnownLayout("Halpe body", _make_body(HALPE_26, _HALPE_26_LIMBS)),
    68: KnownLayout("Halpe without face", _make_halpe_68),
    133: KnownLayout("COCO-WholeBody", get_alphapose_133_components),
    136: _HALPE_136,
}
# AlphaPose, doc/output.md: with `--format cmu` or `open`, points are in OpenPose's order.
ALPHAPOSE_CMU = {
    15: KnownLayout("MPI", lambda: OPENPOSE[15].make_components()[:1]),
    18: KnownLayout("COCO", lambda: OPENPOSE[18].make_components()[:1]),
}
# MMPose, configs/_base_/datasets: without names in the file, a number stands for its usual layout.
MMPOSE = {
    16: _MPII,
    17: _COCO,
    21: KnownLayout("hand", _make_hand),
    26: KnownLayout("Halpe body", _make_body(MMPOSE_HALPE_26, _HALPE_26_LIMBS)),
    68: _FACE_68,
    98: KnownLayout("WFLW face", _make_numbered("WFLW_98", 98)),
    106: KnownLayout("LaPa face", _make_numbered("LAPA_106", 106)),
    133: _WHOLE_BODY,
    136: _HALPE_136,
}
OPENPIFPAF = {17: _COCO, 133: _WHOLE_BODY}
KNOWN_LAYOUTS: Mapping[str, Mapping[int, KnownLayout]] = {
    "openpose": OPENPOSE,
    "openpose_25b": OPENPOSE_25B,
    "openpose_135": OPENPOSE_135,
    "alphapose": ALPHAPOSE,
    "mmpose": MMPOSE,
    "openpifpaf": OPENPIFPAF,
}
"""Name of the estimator → number of points, of OpenPose those of the body → layout."""
