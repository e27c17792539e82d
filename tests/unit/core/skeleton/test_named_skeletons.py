"""Every named skeleton: published numbers, mirror images, drawings, and graph encoders over it."""

from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch

from kinesweep.config.recipe.model.graph import StgcnEncoderConfig
from kinesweep.config.recipe.sources.declared_skeletons import SkeletonName
from kinesweep.core.skeleton.skeleton import ROOT, SKELETONS, find_skeleton
from kinesweep.features.mirror import compute_mirror_permutation
from kinesweep.features.skeleton_normalization import select_non_world_points
from kinesweep.models.encoders import build_encoder
from kinesweep.report.clip_renderer import ClipRenderer
from kinesweep.report.pose_scene import LEFT, RIGHT, build_scene

SINGLE_HANDS = ("mano_21", "hand_21")
"""The mirror image of a single hand is the other hand, which such a layout lacks."""
ONE_BASED_NTU = (
    *((1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7), (9, 21), (10, 9)),
    *((11, 10), (12, 11), (13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18)),
    *((20, 19), (22, 23), (23, 8), (24, 25), (25, 12)),
)


def chains_to_bones(*chains: tuple[int, ...]) -> set[frozenset[int]]:
    return {frozenset(pair) for chain in chains for pair in pairwise(chain)}


PUBLISHED = {
    "kinect_v1_20": chains_to_bones(
        (0, 1, 2, 3), (2, 4, 5, 6, 7), (2, 8, 9, 10, 11), (0, 12, 13, 14, 15), (0, 16, 17, 18, 19)
    ),
    "kinect_v2_25": chains_to_bones(
        *((0, 1, 20, 2, 3), (20, 4, 5, 6, 7, 21), (6, 22), (20, 8, 9, 10, 11, 23), (10, 24)),
        *((0, 12, 13, 14, 15), (0, 16, 17, 18, 19)),
    ),
    "ntu_rgbd_25": {frozenset((a - 1, b - 1)) for a, b in ONE_BASED_NTU},
    "azure_kinect_32": chains_to_bones(
        *((0, 1, 2, 3, 26, 27), (2, 4, 5, 6, 7, 8, 9), (7, 10), (2, 11, 12, 13, 14, 15, 16)),
        *((14, 17), (0, 18, 19, 20, 21), (0, 22, 23, 24, 25)),
        *((26, 28), (26, 29), (26, 30), (26, 31)),
    ),
    "human36m_17": {
        frozenset((child, parent))
        for child, parent in enumerate([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15])
        if parent >= 0
    },
    "openpose_25": chains_to_bones(
        *((0, 1, 2, 3, 4), (1, 5, 6, 7), (1, 8, 9, 10, 11), (8, 12, 13, 14), (0, 15, 17)),
        *((0, 16, 18), (14, 19), (14, 20), (14, 21), (11, 22), (11, 23), (11, 24)),
    ),
    "mano_21": chains_to_bones(
        *((0, 1, 2, 3, 17), (0, 4, 5, 6, 18), (0, 7, 8, 9, 20), (0, 10, 11, 12, 19)),
        (0, 13, 14, 15, 16),
    ),
    "hand_21": chains_to_bones(
        *((0, 1, 2, 3, 4), (0, 5, 6, 7, 8), (0, 9, 10, 11, 12), (0, 13, 14, 15, 16)),
        (0, 17, 18, 19, 20),
    ),
    "smplx_55": chains_to_bones(
        *((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15, 22), (9, 14, 17, 19, 21)),
        *((9, 13, 16, 18, 20), (15, 23), (15, 24)),
        *((20, start, start + 1, start + 2) for start in range(25, 40, 3)),
        *((21, start, start + 1, start + 2) for start in range(40, 55, 3)),
    ),
}


def test_the_recipe_names_all_of_them() -> None:
    assert get_args(SkeletonName) == tuple(SKELETONS)


@pytest.mark.parametrize("name", SKELETONS)
def test_the_number_in_a_name_is_that_of_its_points(name: str) -> None:
    number = name.rpartition("_")[2]
    assert not number.isdigit() or SKELETONS[name].num_points == int(number)


@pytest.mark.parametrize("name", PUBLISHED)
def test_bones_are_the_published_ones(name: str) -> None:
    assert {frozenset(bone) for bone in SKELETONS[name].bones} == PUBLISHED[name]


def test_openpose_135_has_the_published_numbers() -> None:
    names = SKELETONS["openpose_135"].layout.point_names
    assert (names[17], names[18], names[25], names[44], names[45], names[64]) == (
        *("UpperNeck", "HeadTop", "LThumb1CMC", "LPinky4FingerTip"),
        *("RThumb1CMC", "RPinky4FingerTip"),
    )
    parents = SKELETONS["openpose_135"].parents
    assert [parents[point] for point in (25, 29, 45, 61, 28, 9, 17, 24)] == [
        *(9, 9, 10, 10, 27, 7, 0, 16)
    ]
    assert names[65] == "Face0" and parents[65 + 30] == 0
    assert SKELETONS["openpose_135"].mirror[65] == 65 + 16


@pytest.mark.parametrize("name", SKELETONS)
def test_a_mirror_image_of_a_person_is_a_person(name: str) -> None:
    """It is an involution, and keeps bones bones, from root to root."""
    skeleton = SKELETONS[name]
    mirror, parents = np.array(skeleton.mirror), np.array(skeleton.parents)
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    for child, parent in skeleton.bones:
        assert parents[mirror[child]] == mirror[parent]
    assert all(parents[mirror[root]] == ROOT for root in np.flatnonzero(parents == ROOT))
    if name in SINGLE_HANDS:
        with pytest.raises(ValueError, match=r"(?i)mirror image of the point `wrist`"):
            compute_mirror_permutation(skeleton.layout)
    else:
        np.testing.assert_array_equal(compute_mirror_permutation(skeleton.layout), mirror)


@pytest.mark.parametrize("name", SKELETONS)
@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_drawn_with_its_bones_and_sides(name: str, dims: int) -> None:
    skeleton = SKELETONS[name]
    x_TD = np.random.default_rng(0).normal(size=(4, skeleton.num_points * dims)).astype(np.float32)
    scene = build_scene("pose", x_TD, skeleton.layout, 20.0)
    assert scene.bones == skeleton.bones
    sides = np.array(scene.sides)
    assert (sides == LEFT).sum() == (sides == RIGHT).sum()
    assert (sides == LEFT).any() != (name in SINGLE_HANDS)
    assert len(np.unique(np.asarray(ClipRenderer([scene]).render_panels(0.0)))) > 2


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", [n for n in SKELETONS if n not in ("humanml3d_22", "rtmpose_133")])
def test_graph_encoders_read_it_whatever_the_padding(name: str) -> None:
    skeleton = SKELETONS[name]
    torch.manual_seed(0)
    assert find_skeleton(skeleton.layout) == skeleton
    width = skeleton.num_points * 2
    config = StgcnEncoderConfig(channels=2, blocks=1, kernel=3, dropout=0.0)
    encoder = build_encoder(config, width, 3, skeleton).eval()
    x_BTD, mask_BT = torch.randn(2, 7, width), torch.arange(7) < torch.tensor([[7], [4]])
    alone, alone_mask = encoder(x_BTD[1:, :4], mask_BT[1:, :4])
    together, together_mask = encoder(x_BTD, mask_BT)
    torch.testing.assert_close(together[1][together_mask[1]], alone[0][alone_mask[0]])


def test_world_landmarks_alone_are_a_skeleton() -> None:
    layout = SKELETONS["mediapipe_world_33"].layout
    indices, kept = select_non_world_points(layout)
    assert kept == layout and len(indices) == 33
