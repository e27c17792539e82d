"""Point layouts: recognised by name as pose-format does, refused where something is missing."""

import pytest
from pose_format.pose_header import PoseHeader, PoseHeaderDimensions
from pose_format.utils.generic import (
    get_standard_components_for_known_format,
    pose_shoulders,
)

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.keypoint_selection import (
    FACE_128,
    KeypointSelection,
    make_no_shoulders_error,
    select_keypoints,
)
from kinesweep.sources.synthetic.layout import (
    BODY_NAMES,
    FACE_OVAL,
    HAND_NAMES,
    NUM_FACE,
    OPEN_CONTOURS,
)

HANDS = tuple((f"{side}_HAND_LANDMARKS", HAND_NAMES) for side in ("LEFT", "RIGHT"))
HOLISTIC = PointLayout(
    (
        ("POSE_LANDMARKS", BODY_NAMES),
        ("FACE_LANDMARKS", tuple(map(str, range(NUM_FACE)))),
        *HANDS,
        ("POSE_WORLD_LANDMARKS", BODY_NAMES),
    )
)


def names_of(layout: PointLayout) -> list[tuple[str, str]]:
    return [(part, point) for part, points in layout.components for point in points]


def chosen_names(layout: PointLayout, chosen: KeypointSelection) -> list[tuple[str, str]]:
    names = names_of(layout)
    return names if chosen.points is None else [names[place] for place in chosen.points]


def test_the_178_points() -> None:
    chosen = select_keypoints(HOLISTIC, "holistic_178", True)
    names = chosen_names(HOLISTIC, chosen)
    assert len(names) == 178
    assert [point for part, point in names if part == "POSE_LANDMARKS"] == [
        f"{side}_{joint}"
        for joint in ("SHOULDER", "ELBOW", "WRIST", "HIP")
        for side in ("LEFT", "RIGHT")
    ]
    assert [names[place][1] for place in chosen.legs] == ["LEFT_HIP", "RIGHT_HIP"]
    assert chosen.shoulders is not None
    assert [names[place][1] for place in chosen.shoulders] == ["RIGHT_SHOULDER", "LEFT_SHOULDER"]


def test_the_128_face_points_lie_on_the_contour_lines() -> None:
    on_lines = {point for line in (FACE_OVAL, *OPEN_CONTOURS) for point in line}
    assert tuple(sorted(on_lines)) == FACE_128


def test_places_do_not_depend_on_the_order_of_components() -> None:
    turned = PointLayout(HOLISTIC.components[::-1])
    ours, theirs = (select_keypoints(layout, "holistic_178", True) for layout in (HOLISTIC, turned))
    assert chosen_names(HOLISTIC, ours) == chosen_names(turned, theirs)


def test_legs_of_all_points() -> None:
    chosen = select_keypoints(HOLISTIC, "all", True)
    names = chosen_names(HOLISTIC, chosen)
    joints = ("HIP", "KNEE", "ANKLE", "HEEL", "FOOT_INDEX")
    expected = {f"{side}_{joint}" for joint in joints for side in ("LEFT", "RIGHT")}
    for part in ("POSE_LANDMARKS", "POSE_WORLD_LANDMARKS"):
        assert {names[place][1] for place in chosen.legs if names[place][0] == part} == expected
    assert len(chosen.legs) == 20
    assert not len(select_keypoints(HOLISTIC, "all", False).legs)


@pytest.mark.parametrize(
    "known", ["openpose", "openpose_135", "alphapose_133", "alphapose_136", "coco_wholebody_133"]
)
def test_layouts_of_other_estimators(known: str) -> None:
    parts = get_standard_components_for_known_format(known)
    layout = PointLayout(tuple((part.name, tuple(part.points)) for part in parts))
    header = PoseHeader(0.2, PoseHeaderDimensions(1, 1), parts)
    chosen = select_keypoints(layout, "all", True)
    names = names_of(layout)
    assert chosen.shoulders is not None
    assert tuple(names[place] for place in chosen.shoulders) == pose_shoulders(header)
    legs = {names[place][1].lower() for place in chosen.legs}
    assert {word for word in ("hip", "knee", "ankle", "heel") if any(word in leg for leg in legs)}
    assert len(legs) in (12, 13)  # 6 a side, and OpenPose's middle of the hips


def without(layout: PointLayout, part: str, point: str) -> PointLayout:
    return PointLayout(
        tuple(
            (name, tuple(p for p in points if (name, p) != (part, point)))
            for name, points in layout.components
        )
    )


@pytest.mark.parametrize(
    ("layout", "points", "words"),
    [
        (without(HOLISTIC, "POSE_LANDMARKS", "LEFT_WRIST"), "holistic_178", "`LEFT_WRIST`"),
        (without(HOLISTIC, "FACE_LANDMARKS", "454"), "holistic_178", "`454` of `FACE_LANDMARKS`"),
        (without(HOLISTIC, "LEFT_HAND_LANDMARKS", "WRIST"), "holistic_178", "needs 21 points"),
        (PointLayout(HANDS), "holistic_178", "LEFT_HAND_LANDMARKS (21)"),
        (PointLayout((("TORSO", ("a", "b")),)), "all", "features.hide_legs: false"),
    ],
)
def test_unknown_layouts(layout: PointLayout, points: str, words: str) -> None:
    with pytest.raises(ClipError) as caught:
        select_keypoints(layout, points, True)
    assert caught.value.reason == "unknown_layout"
    assert words in str(caught.value)


def test_hands_alone_have_no_shoulders_and_no_legs() -> None:
    chosen = select_keypoints(PointLayout(HANDS), "all", True)
    assert chosen.shoulders is None and not len(chosen.legs)
    assert "features.normalize: none" in str(make_no_shoulders_error(PointLayout(HANDS)))
