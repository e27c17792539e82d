"""Keypoint sets of published systems: which points they select, and how they normalize them.

A set is an entry of the table below: parts with their points, the point that a part is relative to,
and the box whose longer side is the unit of length. Sources are named beside the entries. The
functions that apply an entry are `features.keypoint_selection` and
`features.points.published_normalization`.
"""

from dataclasses import dataclass
from typing import Literal

from kinesweep.core.skeleton.keypoints import COCO_HAND, HAND_21


@dataclass(frozen=True)
class KeypointPart:
    """One part of the body in a keypoint set.

    Attributes:
        components: Names of its component in the layouts that the set can be selected from; the
            first one that a layout contains is used.
        points: Names of the selected points, in feature order; of a hand, whose points have other
            names in other layouts, only the number counts.
        anchor: Index among `points` of the point that is subtracted in each frame; None: the part
            is relative to the box.
        extent: Length of the box's side after normalization.
    """

    components: tuple[str, ...]
    points: tuple[str, ...]
    anchor: int | None = None
    extent: float = 1.0


@dataclass(frozen=True)
class KeypointSet:
    """The points of a published system and their normalization.

    Attributes:
        layout: Point layout that files need, for messages.
        parts: Parts of the body, in feature order.
        box_parts: Indices of the parts whose points, over all frames of a clip, span the box. Its
            longest side is the unit of length.
        origin: Origin of parts without an anchor: the `center` of the box, or its lower `corner`.
        in_frame_units: Whether x and y are first divided by the width and the height of the video.
        num_coordinates: Number of coordinates that are kept; None keeps those of the file.
        threshold: Points of at most this confidence count as missing.
        min_box_points: Number of points over all frames that the box needs.
        limit: Largest absolute value; others are clipped. None: no limit.
        has_score: Whether each point has its confidence as a further value after its coordinates.
    """

    layout: str
    parts: tuple[KeypointPart, ...]
    box_parts: tuple[int, ...]
    origin: Literal["center", "corner"]
    in_frame_units: bool = False
    num_coordinates: int | None = None
    threshold: float = 0.0
    min_box_points: int = 2
    limit: float | None = None
    has_score: bool = False


_COCO_BODY_9 = (
    "nose",
    *(
        f"{side}_{name}"
        for name in ("ear", "shoulder", "elbow", "wrist")
        for side in ("left", "right")
    ),
)
# Every second point of the jaw, the inner lips, and the tip of the nose.
_COCO_FACE_18 = tuple(f"face-{number}" for number in (*range(0, 17, 2), *range(60, 68), 30))
_MESH_37 = (
    *(0, 4, 13, 14, 17, 33, 37, 39, 46, 52, 55, 61, 64, 81, 82, 93, 133, 151, 152, 159, 172, 178),
    *(181, 263, 269, 276, 282, 285, 291, 294, 311, 323, 362, 386, 397, 468, 473),
)

KEYPOINT_SETS = {
    # Uni-Sign (Li et al., ICLR 2025, arXiv 2501.15187), datasets.py: `load_part_kp`, `crop_scale`.
    "uni_sign_69": KeypointSet(
        layout="COCO-WholeBody (133 points), as `kinesweep import-poses mmpose` writes it",
        parts=(
            KeypointPart(("BODY", "BODY_133"), _COCO_BODY_9, extent=2.0),
            KeypointPart(("LEFT_HAND", "LEFT_HAND_133"), COCO_HAND, anchor=0),
            KeypointPart(("RIGHT_HAND", "RIGHT_HAND_133"), COCO_HAND, anchor=0),
            KeypointPart(("FACE", "FACE_133"), _COCO_FACE_18, anchor=len(_COCO_FACE_18) - 1),
        ),
        box_parts=(0,),
        origin="center",
        in_frame_units=True,
        num_coordinates=2,
        # `thr`, the number of valid coordinates, and the bounds of `np.clip` in these functions.
        threshold=0.3,
        min_box_points=4,
        limit=1.0,
        has_score=True,
    ),
    # YouTube-ASL (Uthus et al., 2023, arXiv 2306.15162), section 4.1, which lists these numbers.
    "youtube_asl_85": KeypointSet(
        layout="MediaPipe Holistic with refined face landmarks (478 face points), as the estimator"
        " `mediapipe_refined` writes it",
        parts=(
            KeypointPart(
                ("POSE_LANDMARKS",),
                tuple(
                    f"{side}_{joint}"
                    for joint in ("SHOULDER", "ELBOW", "HIP")
                    for side in ("LEFT", "RIGHT")
                ),
            ),
            KeypointPart(("LEFT_HAND_LANDMARKS",), HAND_21),
            KeypointPart(("RIGHT_HAND_LANDMARKS",), HAND_21),
            KeypointPart(("FACE_LANDMARKS",), tuple(map(str, _MESH_37))),
        ),
        box_parts=(0, 1, 2, 3),
        origin="corner",
    ),
}
"""Name in `features.points` → keypoint set."""
