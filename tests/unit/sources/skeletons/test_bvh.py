"""BVH files: hierarchy, order of rotations, forward kinematics, and files that cannot be used."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from bvh import TREE, write_bvh
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.skeleton import ROOT, find_skeleton
from kinesweep.core.units import Span
from kinesweep.sources.skeletons.bvh_file import read_bvh
from kinesweep.sources.skeletons.skeletons import SkeletonsSource

POINTS = ("Hips", "LeftArm", "LeftArm_end", "RightArm", "RightHand", "RightHand_end")
PARENTS = (ROOT, 0, 1, 0, 3, 4)
OFFSETS = ((0, 0, 0), (2, 0, 0), (1, 0, 0), (-2, 0, 0), (-1, 0.5, 0), (0, 0, 3))
ORDERS = ("ZXY", "XZY", None, "YXZ", "ZYX", None)
"""Order of the rotations of each joint; ends have none."""


def pose(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Forward kinematics of its own: intrinsic rotations in the order of the channels."""
    at, turns, column = [values[:3]], [Rotation.from_euler("ZXY", values[3:6], degrees=True)], 6
    for point in range(1, len(POINTS)):
        parent, order = PARENTS[point], ORDERS[point]
        at.append(at[parent] + turns[parent].apply(OFFSETS[point]))
        turn = Rotation.identity()
        if order is not None:
            turn = Rotation.from_euler(order, values[column : column + 3], degrees=True)
            column += 3
        turns.append(turns[parent] * turn)
    return np.array(at)


def test_positions_computed_by_hand(tmp_path: Path) -> None:
    still = [10.0, 20.0, 30.0, *[0.0] * 12]
    quarter = still.copy()
    quarter[3] = 90  # about z: x becomes y
    elbow = still.copy()
    elbow[7] = 90  # the left arm about z, its second channel
    both = still.copy()
    both[6:8] = 90, 90  # about x, then about the turned z: the end of the arm points along z
    found = read_bvh(write_bvh(tmp_path / "a.bvh", [still, quarter, elbow, both]), Span())
    x_TJC = found.points_TPJC[:, 0] - (10, 20, 30)
    np.testing.assert_allclose(x_TJC[0][:4], [(0, 0, 0), (2, 0, 0), (3, 0, 0), (-2, 0, 0)])
    np.testing.assert_allclose(
        x_TJC[1],
        [(0, 0, 0), (0, 2, 0), (0, 3, 0), (0, -2, 0), (-0.5, -3, 0), (-0.5, -3, 3)],
        atol=1e-5,
    )
    np.testing.assert_allclose(x_TJC[2][:3], [(0, 0, 0), (2, 0, 0), (2, 1, 0)], atol=1e-5)
    np.testing.assert_allclose(x_TJC[3][:3], [(0, 0, 0), (2, 0, 0), (2, 0, 1)], atol=1e-5)
    assert found.fps == 25 and not found.has_confidence


def test_every_order_of_rotations_equals_other_kinematics(tmp_path: Path) -> None:
    values = np.random.default_rng(3).uniform(-170, 170, (9, 15)).round(6)
    found = read_bvh(write_bvh(tmp_path / "a.bvh", values), Span.from_frames(2, 8))
    expected = np.array([pose(row) for row in values[2:8]])
    np.testing.assert_allclose(found.points_TPJC[:, 0], expected, atol=1e-4)


def test_a_file_states_its_own_skeleton(tmp_path: Path) -> None:
    skeleton = find_skeleton(
        read_bvh(write_bvh(tmp_path / "a.BVH", np.zeros((3, 15))), Span()).layout
    )
    assert skeleton is not None and skeleton.layout.point_names == POINTS
    assert skeleton.parents == PARENTS
    # The right arm has a hand, and the left one has none.
    assert skeleton.mirror == (0, 3, 2, 1, 4, 5)


def test_a_joint_may_be_called_like_the_keyword_of_the_frames(tmp_path: Path) -> None:
    tree = TREE.replace("RightHand", "MOTION_hand")
    found = read_bvh(write_bvh(tmp_path / "a.bvh", np.zeros((3, 15)), tree), Span())
    assert found.layout.point_names[4:] == ("MOTION_hand", "MOTION_hand_end")


def test_a_joint_may_have_several_ends(tmp_path: Path) -> None:
    path = write_bvh(tmp_path / "a.bvh", np.zeros((2, 15)))
    end = re.search(r"End Site\s*\{[^}]*\}", path.read_text())
    assert end is not None
    path.write_text(path.read_text().replace(end[0], f"{end[0]}\n{end[0]}", 1))
    layout = read_bvh(path, Span()).layout
    assert layout.point_names[:4] == ("Hips", "LeftArm", "LeftArm_end", "LeftArm_end2")
    assert layout.tree is not None and layout.tree.parents[:5] == (ROOT, 0, 1, 1, 0)


def test_root_channels_may_come_in_another_order(tmp_path: Path) -> None:
    line = "Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    turned = TREE.replace(line, "Zrotation Xrotation Yrotation Xposition Yposition Zposition")
    values = np.random.default_rng(4).uniform(-90, 90, (3, 15)).round(6)
    moved = np.concatenate([values[:, 3:6], values[:, :3], values[:, 6:]], axis=1)
    first = read_bvh(write_bvh(tmp_path / "a.bvh", values), Span())
    second = read_bvh(write_bvh(tmp_path / "b.bvh", moved, turned), Span())
    np.testing.assert_allclose(first.points_TPJC, second.points_TPJC, atol=1e-4)


ZEROS = np.zeros((4, 15))
GOOD = TREE + "MOTION\nFrames: 2\nFrame Time: 0.04\n" + ("0 " * 15 + "\n") * 2


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        ("", "unreadable", "ROOT"),
        ("not a motion\n", "unreadable", "ROOT"),
        (TREE, "unreadable", "frame time"),
        (TREE[:150], "wrong_hierarchy", "cut off"),
        (GOOD.replace("}\n}\nMOTION", "}\nMOTION"), "wrong_hierarchy", "cut off"),
        (GOOD.replace("Frames: 2", "Frames: 3"), "unreadable", "3 frames"),
        (GOOD.replace("Frames: 2", "Frames: 0"), "no_frames", "no frames"),
        (GOOD.replace("Frames: 2", "Frames: 99999999999"), "unreadable", "99999999999"),
        (GOOD.replace("Frames: 2", "Frames: two"), "unreadable", "two"),
        (GOOD.replace("0 0 0 0 0 0 \n", "0 0 0 0 0 \n"), "unreadable", "14 values"),
        (GOOD + "0 0\n", "unreadable", "cannot be read"),
        (GOOD.replace("0 \n", "nan \n", 1), "nan_frames", "1 of 2"),
        (GOOD.replace("0 \n", "x \n", 1), "unreadable", "x"),
        (GOOD.replace("0.04", "0"), "unreadable", "frame time (0.0)"),
        (GOOD.replace("0.04", "-0.04"), "unreadable", "cannot be read"),
        (GOOD.replace("0.04", "1e-9"), "implausible_rate", "1e-09"),
        (GOOD.replace("0.04", "nan"), "unreadable", "cannot be read"),
        (GOOD.replace("JOINT RightHand", "JOINT LeftArm"), "wrong_hierarchy", "`LeftArm`"),
        (GOOD.replace("OFFSET 2 0 0", "OFFSET 2 0"), "unreadable", "LeftArm"),
        (GOOD.replace("CHANNELS 3 X", "CHANNELS 6 X"), "unreadable", "three rotation channels"),
        (GOOD.replace("Xposition Y", "Yposition X", 1), "unreadable", "X, Y, Z"),
        ("\x00\xff\x93NUMPY", "unreadable", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_a_reason(
    tmp_path: Path, text: str, reason: str, said: str
) -> None:
    path = tmp_path / "bad motion.bvh"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ClipError, match=r"bad motion\.bvh") as caught:
        read_bvh(path, Span())
    assert (caught.value.reason, "motion.bvh`" in str(caught.value)) == (reason, True)
    assert said in str(caught.value) and "/motion.bvh" not in str(caught.value)
    with pytest.raises(ClipError, match="does not exist"):
        read_bvh(tmp_path / "none.bvh", Span())


def test_spans_beyond_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="4 frames"):
        read_bvh(write_bvh(tmp_path / "a.bvh", ZEROS), Span.from_frames(0, 40))


def test_a_folder_of_them_is_a_corpus(tmp_path: Path) -> None:
    for name in "ab":
        write_bvh(tmp_path / f"{name}.bvh", ZEROS)
    (tmp_path / "c.bvh").write_text("HIERARCHY\n")
    (tmp_path / "train.tsv").write_text("id\ttext\na\tWalk.\nb\tSit.\nc\tGo.\n")
    config = {"kind": "skeletons", "fps": 99, "train": str(tmp_path / "train.tsv")}
    source = SkeletonsSource(SkeletonsConfig.model_validate({**config, "motions": str(tmp_path)}))
    (row,) = source.check_clips()
    assert (row.clip_id, row.reason) == ("c", "unreadable")
    motion = source.read(source.list_clips("train")[1])
    assert motion.pose.fps == 25 and motion.pose.layout.point_names == POINTS
