"""Skeletons: every layout that is known has one, its trees are trees, both sides are alike."""

import json
from itertools import pairwise

import numpy as np
import pytest
from pose_format.utils.generic import get_standard_components_for_known_format

from kinesweep.core.skeleton.keypoints import BODY_33, HAND_21, SMPL_22
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import ROOT, SKELETONS, Skeleton, find_skeleton
from kinesweep.features.keypoint_selection import select_keypoints
from kinesweep.features.mirror import compute_mirror_permutation

HANDS = tuple((f"{side}_HAND_LANDMARKS", HAND_21) for side in ("LEFT", "RIGHT"))
MESH = ("FACE_LANDMARKS", tuple(map(str, range(468))))
WHOLE = PointLayout((("POSE_LANDMARKS", BODY_33), MESH, *HANDS, ("POSE_WORLD_LANDMARKS", BODY_33)))
FORMATS = ("openpose", "alphapose_133", "alphapose_136", "coco_wholebody_133")


def layout_of(name: str) -> PointLayout:
    parts = get_standard_components_for_known_format(name)
    return PointLayout(tuple((part.name, tuple(part.points)) for part in parts))


def skeletons() -> dict[str, Skeleton]:
    found = {name: find_skeleton(layout_of(name)) for name in FORMATS}
    found["whole file"] = find_skeleton(WHOLE)
    found["body and hands"] = find_skeleton(PointLayout((("POSE_LANDMARKS", BODY_33), *HANDS)))
    found["refined mesh"] = find_skeleton(
        PointLayout((("POSE_LANDMARKS", BODY_33), (MESH[0], tuple(map(str, range(478))))))
    )
    assert all(found.values())
    return {**SKELETONS, **{name: one for name, one in found.items() if one is not None}}


ALL = skeletons()
SINGLE_HANDS = ("mano_21", "hand_21")
"""The mirror image of a single hand is the other hand, which they lack."""
TREES = {"whole file": 2, "holistic_hands": 2}
"""Skeletons in several pieces: the body again in metres; hands without arms."""


def names(skeleton: Skeleton) -> list[str]:
    return [f"{part}/{point}" for part, points in skeleton.layout.components for point in points]


@pytest.mark.parametrize("name", ALL)
def test_a_tree_is_a_tree(name: str) -> None:
    skeleton = ALL[name]
    assert len(skeleton.parents) == len(skeleton.mirror) == skeleton.layout.num_points
    roots = [point for point, up in enumerate(skeleton.parents) if up == ROOT]
    assert len(roots) == TREES.get(name, 1)
    assert len(skeleton.bones) == skeleton.num_points - len(roots)
    for point in range(skeleton.num_points):
        for _ in range(skeleton.num_points):
            if point == ROOT:
                break
            point = skeleton.parents[point]
        assert point == ROOT


@pytest.mark.parametrize("name", ALL)
def test_the_mirror_image_of_a_bone_is_a_bone(name: str) -> None:
    skeleton = ALL[name]
    mirror, parents = np.array(skeleton.mirror), np.array(skeleton.parents)
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    assert (mirror != np.arange(len(mirror))).sum() >= (0 if name in SINGLE_HANDS else 12)
    for child, up in skeleton.bones:
        assert parents[mirror[child]] == mirror[up], names(skeleton)[child]
    assert all(parents[mirror[root]] == ROOT for root in np.flatnonzero(parents == ROOT))


@pytest.mark.parametrize(
    "name", [n for n in ALL if n not in ("whole file", "refined mesh", *SINGLE_HANDS)]
)
def test_one_truth_about_mirrors(name: str) -> None:
    np.testing.assert_array_equal(ALL[name].mirror, compute_mirror_permutation(ALL[name].layout))


def test_off_its_lines_a_mesh_hangs_on_the_chin_and_is_its_own_mirror_image() -> None:
    skeleton = ALL["whole file"]
    place = {name: n for n, name in enumerate(names(skeleton))}
    tip, chin = place["FACE_LANDMARKS/1"], place["FACE_LANDMARKS/152"]
    assert (skeleton.parents[tip], skeleton.mirror[tip]) == (chin, tip)


def test_the_points_of_the_pose_step_have_a_skeleton() -> None:
    for hidden in (True, False):
        assert (
            find_skeleton(select_keypoints(WHOLE, "holistic_178", hidden).layout)
            is SKELETONS["holistic_178"]
        )
    layout = PointLayout((("POSE_LANDMARKS", BODY_33), *HANDS))
    assert find_skeleton(select_keypoints(layout, "all", True).layout) == ALL["body and hands"]


@pytest.mark.parametrize(
    ("name", "child", "up"),
    [
        ("smpl_22", "SMPL/left_elbow", "SMPL/left_shoulder"),
        ("smpl_22", "SMPL/head", "SMPL/neck"),
        ("coco_17", "BODY/left_shoulder", "BODY/nose"),
        ("coco_17", "BODY/right_ear", "BODY/right_eye"),
        ("coco_17", "BODY/right_hip", "BODY/right_shoulder"),
        ("coco_wholebody_133", "LEFT_HAND/hand_0", "BODY/left_wrist"),
        ("coco_wholebody_133", "RIGHT_HAND/hand_5", "RIGHT_HAND/hand_0"),
        ("coco_wholebody_133", "RIGHT_HAND/hand_8", "RIGHT_HAND/hand_7"),
        ("coco_wholebody_133", "FACE/face-30", "BODY/nose"),
        ("coco_wholebody_133", "FACE/face-45", "FACE/face-44"),
        ("alphapose_136", "BODY_136/left_hip", "BODY_136/pelvis"),
        ("alphapose_136", "BODY_136/left_shoulder", "BODY_136/neck"),
        ("openpose", "pose_keypoints_2d/RHip", "pose_keypoints_2d/MidHip"),
        ("openpose", "pose_keypoints_2d/LBigToe", "pose_keypoints_2d/LAnkle"),
        ("openpose", "hand_left_keypoints_2d/BASE", "pose_keypoints_2d/LWrist"),
        ("holistic_33", "POSE_LANDMARKS/LEFT_EAR", "POSE_LANDMARKS/LEFT_EYE_OUTER"),
        ("holistic_33", "POSE_LANDMARKS/MOUTH_RIGHT", "POSE_LANDMARKS/NOSE"),
        ("holistic_178", "POSE_LANDMARKS/LEFT_SHOULDER", "FACE_LANDMARKS/152"),
        ("holistic_178", "RIGHT_HAND_LANDMARKS/WRIST", "POSE_LANDMARKS/RIGHT_WRIST"),
        ("holistic_178", "FACE_LANDMARKS/61", "FACE_LANDMARKS/146"),
        ("holistic_178", "FACE_LANDMARKS/336", "FACE_LANDMARKS/10"),
        ("whole file", "FACE_LANDMARKS/152", "POSE_LANDMARKS/NOSE"),
    ],
)
def test_bones(name: str, child: str, up: str) -> None:
    skeleton = ALL[name]
    known = names(skeleton)
    assert known[skeleton.parents[known.index(child)]] == up


def test_smpl_is_that_of_humanml3d() -> None:
    """Its chains of legs, spine and arms, by number."""
    chains = ((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15))
    chains += ((9, 14, 17, 19, 21), (9, 13, 16, 18, 20))
    bones = {(down, up) for chain in chains for up, down in pairwise(chain)}
    assert set(SKELETONS["smpl_22"].bones) == bones
    assert len(SMPL_22) == 22


@pytest.mark.parametrize(
    "layout",
    [
        None,
        PointLayout((("TORSO", ("a",)),)),
        PointLayout((("BODY", ("nose", "tail")),)),
        PointLayout((("LEFT_HAND", ("a", "b")),)),
    ],
)
def test_unknown_points_have_none(layout: PointLayout | None) -> None:
    assert find_skeleton(layout) is None


def test_plain_values_and_back() -> None:
    for skeleton in ALL.values():
        assert Skeleton.from_json(skeleton.to_json()) == skeleton


def test_the_hands_of_smpl_hang_on_the_wrists() -> None:
    body, whole = SKELETONS["smpl_22"], SKELETONS["smpl_24"]
    names = whole.layout.components[0][1]
    more = [(names[child], names[up]) for child, up in whole.bones if (child, up) not in body.bones]
    assert more == [("left_hand", "left_wrist"), ("right_hand", "right_wrist")]
    assert whole.mirror == (*body.mirror, 23, 22)


def test_humanml3d_names_the_joints_of_smpl() -> None:
    assert SKELETONS["humanml3d_22"] is SKELETONS["smpl_22"]


def test_kit_ml_has_the_published_chains() -> None:
    chains = ((0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4))
    chains += ((3, 5, 6, 7), (3, 8, 9, 10))
    bones = {(down, up) for chain in chains for up, down in pairwise(chain)}
    assert set(SKELETONS["kit_ml_21"].bones) == bones


def test_a_layout_keeps_its_own_tree_in_plain_values() -> None:
    layout = SKELETONS["kit_ml_21"].layout
    again = PointLayout.from_json(json.loads(json.dumps(layout.to_json())))
    assert again == layout and find_skeleton(again) == SKELETONS["kit_ml_21"]
    assert isinstance(SKELETONS["smpl_22"].layout.to_json(), list)
