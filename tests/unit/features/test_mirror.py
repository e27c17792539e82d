"""Mirror images: each point has one, on the other side, in every layout that is known."""

import numpy as np
import pytest
from pose_format.utils.generic import get_standard_components_for_known_format

from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.keypoint_selection import FACE_128, select_keypoints
from kinesweep.features.mirror import compute_mirror_permutation
from kinesweep.sources.synthetic.layout import BODY_NAMES, HAND_NAMES, NUM_FACE

HANDS = tuple((f"{side}_HAND_LANDMARKS", HAND_NAMES) for side in ("LEFT", "RIGHT"))
HOLISTIC = PointLayout(
    (
        ("POSE_LANDMARKS", BODY_NAMES),
        ("FACE_LANDMARKS", tuple(map(str, range(NUM_FACE)))),
        *HANDS,
    )
)


def known(name: str) -> PointLayout:
    if name == "holistic_178":
        return select_keypoints(HOLISTIC, "holistic_178", True).layout
    parts = get_standard_components_for_known_format(name)
    return PointLayout(tuple((part.name, tuple(part.points)) for part in parts))


@pytest.mark.parametrize(
    "name", ["holistic_178", "openpose", "alphapose_133", "alphapose_136", "coco_wholebody_133"]
)
def test_twice_is_nothing_and_sides_change(name: str) -> None:
    layout = known(name)
    order = compute_mirror_permutation(layout)
    np.testing.assert_array_equal(order[order], np.arange(layout.num_points))
    names = [f"{part}/{point}" for part, points in layout.components for point in points]
    sided = [n for n, at in enumerate(names) if "left" in at.lower() or "/LS" in at]
    assert len(sided) >= 22
    for index in sided:
        other = names[order[index]]
        assert other != names[index] and ("right" in other.lower() or "/RS" in other)


def test_the_mesh_is_mirrored_where_it_is() -> None:
    """Lips' corners, eyes' outer and inner corners, the oval's chin and ears."""
    layout = select_keypoints(HOLISTIC, "holistic_178", True).layout
    order = compute_mirror_permutation(layout)
    faces = [int(point) for point in dict(layout.components)["FACE_LANDMARKS"]]
    first = [part for part, points in layout.components for _ in points].index("FACE_LANDMARKS")
    partner = {faces[n]: faces[order[first + n] - first] for n in range(len(FACE_128))}
    assert {n for n, other in partner.items() if n == other} == {10, 152, 0, 17, 13, 14}
    pairs = {61: 291, 78: 308, 33: 263, 133: 362, 159: 386, 70: 300, 55: 285, 234: 454, 58: 288}
    assert {n: partner[n] for n in pairs} == pairs


def test_faces_of_68_points() -> None:
    layout = known("alphapose_136")
    order = compute_mirror_permutation(layout)
    first = [part for part, points in layout.components for _ in points].index("FACE_136")
    partner = order[first : first + 68] - first
    middle = {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}  # chin, bridge of the nose, lips' middles
    assert {n for n in range(68) if partner[n] == n} == middle
    assert (partner[36], partner[39], partner[37], partner[41]) == (45, 42, 44, 46)
    assert (partner[48], partner[60], partner[31], partner[17]) == (54, 64, 35, 26)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (HOLISTIC, "`1` of `FACE_LANDMARKS`"),
        (PointLayout(HANDS[1:]), "`WRIST` of `RIGHT_HAND_LANDMARKS`"),
        (PointLayout((("TORSO", ("a",)),)), "`a` of `TORSO`"),
    ],
)
def test_points_without_a_partner_are_refused(layout: PointLayout, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compute_mirror_permutation(layout)
