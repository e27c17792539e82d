"""Files of motions: their names, kinds and points, and reasons why one cannot be used."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.core.errors import ClipError, ConfigError, SourceError
from skeleton_corpus import HEADER, ROWS, config, reason, source
from skeletons import motions, write_pack, write_rows


def test_files(tmp_path: Path) -> None:
    one, two, three = motions(3)
    folder = tmp_path / "joints"
    folder.mkdir()
    np.save(folder / "flat.npy", one.reshape(len(one), -1))
    np.savez(folder / "single.npz", x=two)
    hybrik = np.concatenate([three, np.zeros((len(three), 7, 3), np.float32)], 1)
    np.savez(
        folder / "video.npz", pred_xyz_29=hybrik, pred_xyz_17=three[:, :17], transl=three[:, 0]
    )
    write_pack(folder / "many.npz", [one, two])
    names = ("flat.npy", "single.npz", "video", "many.npz#1")
    rows = [f"{name} Text. flat" for name in names]
    write_rows(tmp_path / "train.tsv", "motion output reference", rows)
    made = source(tmp_path, motions=str(folder))
    clips = made.list_clips("train")
    assert [clip.id for clip in clips] == ["flat", "single", "video", "many#1"]
    for clip, stored in zip(clips, (one, two, three, two), strict=True):
        found = made.read(clip)
        np.testing.assert_array_equal(found.pose.points_TPJC[:, 0], stored)
        assert found.reference_pose is not None
        np.testing.assert_array_equal(found.reference_pose.points_TPJC[:, 0], one)


def test_names_of_files_may_hold_a_number_sign(tmp_path: Path) -> None:
    one, two = motions(2)
    np.save(tmp_path / "jump#2.npy", one)
    write_pack(tmp_path / "take#1.npz", [one, two])
    write_rows(tmp_path / "train.tsv", "id text reference", ["jump#2 Up. take#1.npz#1"])
    made = source(tmp_path, motions=str(tmp_path))
    found = made.read(made.list_clips("train")[0])
    assert found.reference_pose is not None
    np.testing.assert_array_equal(found.pose.points_TPJC[:, 0], one)
    np.testing.assert_array_equal(found.reference_pose.points_TPJC[:, 0], two)
    write_rows(tmp_path / "train.tsv", "motion text", ["jump#2.npy Up.", "take#1.npz#0 Up."])
    clips = source(tmp_path).list_clips("train")
    assert [clip.id for clip in clips] == ["jump#2", "take#1#0"]
    np.testing.assert_array_equal(source(tmp_path).read(clips[1]).pose.points_TPJC[:, 0], one)


def test_pose_files_name_their_points(tmp_path: Path, write_pose: Any) -> None:
    write_pose("m/dance.pose")
    write_rows(tmp_path / "train.tsv", "id text start end", ["dance Jump. 1 3"])
    made = source(tmp_path, motions=str(tmp_path / "m"))
    found = made.read(made.list_clips("train")[0]).pose
    assert (len(found.points_TPJC), found.fps, found.layout.num_points) == (2, 25, 3)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("a1 9 0 0 Up. - - ann", "no_such_motion"),
        ("a1 2 7 0 Up. - - ann", "span_beyond_file"),
        ("a1 2 0 0 Up. - nobody ann", "missing_reference"),
        ("a1 2 0 0 Up. - 99 ann", "reference_no_such_motion"),
        ("a1 4 0 0 Up. - - ann", "nan_frames"),
        ("a1 2 0 0 Up. - 4 ann", "reference_nan_frames"),
    ],
)
def test_reasons(tmp_path: Path, row: str, word: str) -> None:
    stored = motions(5)
    stored[4][1, 3, 0] = np.nan
    write_pack(tmp_path / "train.npz", stored)
    write_rows(tmp_path / "train.tsv", HEADER, [row, *ROWS[1:]])
    assert reason(tmp_path, "a1") == word


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        (np.zeros((4, 21, 3), np.float32), "wrong_shape"),
        (np.zeros((4, 65), np.float32), "wrong_shape"),
        (np.zeros((4, 22, 4), np.float32), "wrong_shape"),
        (np.zeros((0, 22, 3), np.float32), "no_frames"),
        (np.zeros((4, 22, 3), np.int64), "wrong_dtype"),
        (np.array([{"a": 1}, None], object), "pickled"),
        (np.full((4, 22, 3), 1e300), "nan_frames"),
        (b"\x80\x04N.", "pickled"),
        (b"version https://git-lfs.github.com/spec/v1", "unreadable"),
        (b"\x93NUMPY\x01\x00\x0a\x00{'descr': \n", "unreadable"),  # NumPy: TokenError
        (b"", "unreadable"),
        (b"\x93NUMPY\x01\x00", "unreadable"),
        (None, "missing_file"),
    ],
)
def test_reasons_of_files(tmp_path: Path, stored: Any, word: str) -> None:
    write_rows(tmp_path / "train.tsv", "motion text", ["a.npy Up."])
    if isinstance(stored, bytes):
        (tmp_path / "a.npy").write_bytes(stored)
    elif stored is not None:
        np.save(tmp_path / "a.npy", stored, allow_pickle=True)
    assert reason(tmp_path, "a") == word


@pytest.mark.parametrize(
    ("key", "joints"), [("pred_xyz_29", 29), ("pred_xyz_24", 24), ("pred_xyz_24_struct", 24)]
)
def test_hybrik_s_joints_are_smpl_s(tmp_path: Path, key: str, joints: int) -> None:
    (stored,) = motions(1, joints)
    np.savez(tmp_path / "a.npz", other=1, **{key: stored})
    write_rows(tmp_path / "train.tsv", "motion text", ["a.npz Up."])
    for count in (22, 24):
        made = source(tmp_path, skeleton=f"smpl_{count}")
        found = made.read(made.list_clips("train")[0]).pose
        np.testing.assert_array_equal(found.points_TPJC[:, 0], stored[:, :count])
    assert reason(tmp_path, "a", skeleton="coco_17") == "wrong_shape"


def test_where_motions_are_looked_for_is_said(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.tsv", "id text", ["a Up."])
    (problem,) = source(tmp_path).check_clips()
    assert problem.message.endswith("train.npz` does not exist; see `source.motions`")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    name = "跳" * 100
    write_rows(tmp_path / "train.tsv", "id text", [f"{name} Up."])
    assert reason(tmp_path, name, motions=str(tmp_path)) == "missing_file"


def test_archives_of_other_things(tmp_path: Path) -> None:
    """A member that is no array, and one that is packed in a way that Python cannot unpack."""
    write_rows(tmp_path / "train.tsv", "motion text", ["a.npz Up."])
    for member in ("readme.txt", "pred_xyz_29"):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr(member, "nothing")
        assert reason(tmp_path, "a") in {"wrong_dtype", "wrong_shape"}
    np.savez(tmp_path / "a.npz", x=motions(1)[0])
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 99  # the method of compression
    (tmp_path / "a.npz").write_bytes(content)
    assert reason(tmp_path, "a") == "unreadable"


def test_what_is_not_found_must_be_filled(tmp_path: Path) -> None:
    x_TJC = motions(1)[0]
    x_TJC[1:, 3] = np.nan
    np.save(tmp_path / "a.npy", x_TJC)
    write_rows(tmp_path / "train.tsv", "motion text", ["a.npy Up."])
    made = source(tmp_path)
    with pytest.raises(ClipError, match=r"not numbers in 2 of 3 frames; fill .*`\.pose`"):
        made.read(made.list_clips("train")[0])


def test_a_damaged_pack_is_said_of_each_clip(corpus: Path) -> None:
    stored = motions(5)
    data, offsets = np.concatenate(stored), np.cumsum([0, *map(len, stored)])
    for bad in (offsets[1:], offsets[:-1], offsets[::-1], offsets.astype(float)):
        np.savez(corpus / "train.npz", data=data, offsets=bad)
        assert reason(corpus, "a1") == "bad_pack"
    np.savez(corpus / "train.npz", joints=data, offsets=offsets)
    assert reason(corpus, "a1") == "bad_pack"
    np.savez(corpus / "train.npz", data=np.float32(1), offsets=offsets)
    assert reason(corpus, "a1") == "bad_pack"
    objects = np.empty(1, object)
    np.savez(corpus / "train.npz", data=objects, offsets=np.array([0, 1]))
    assert reason(corpus, "a1") == "pickled"
    content = (corpus / "train.npz").read_bytes()
    (corpus / "train.npz").write_bytes(content[: len(content) // 2])
    assert reason(corpus, "a1") == "unreadable"


def test_other_points_cannot_be_compared(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", motions(1)[0])
    np.save(tmp_path / "b.npy", motions(1)[0][..., :2])
    write_rows(tmp_path / "train.tsv", "motion text reference", ["a.npy Up. b.npy"])
    assert reason(tmp_path, "a") == "other_skeleton"


def test_a_name_that_means_two_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", motions(1)[0])
    np.savez(tmp_path / "a.npz", x=motions(1)[0])
    write_rows(tmp_path / "train.tsv", "id text", ["a Up."])
    assert reason(tmp_path, "a", motions=str(tmp_path)) == "ambiguous_file"


def test_pickles_are_refused_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([]))
    write_rows(tmp_path / "train.tsv", "id text", ["a Up."])
    made = source(tmp_path, motions=str(tmp_path))
    with pytest.raises(ClipError, match=r"kinesweep convert \S+a\.pkl \S+a_converted\.tsv"):
        made.read(made.list_clips("train")[0])
    write_rows(tmp_path / "train.tsv", "motion text", ["a.pkl Up."])
    with pytest.raises(SourceError, match=r"kinesweep convert a\.pkl"):
        source(tmp_path).list_clips("train")
    with pytest.raises(ConfigError, match="kinesweep convert"):
        config(tmp_path, motions="a.pickle")


def test_motions_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    np.save(tmp_path / "a.npy", motions(1)[0])
    write_rows(tmp_path / "train.tsv", "motion text id", ["../a Up. a"])
    assert reason(tmp_path, "a", motions=str(tmp_path / "m")) == "outside_root"


def test_only_the_suffix_of_a_motion_is_taken_off(tmp_path: Path) -> None:
    rows = ("walk.v1 A.", "walk.v2 B.", "run.1.5.npy C.")
    write_rows(tmp_path / "train.tsv", "motion text", rows)
    assert [c.id for c in source(tmp_path).list_clips("train")] == ["walk.v1", "walk.v2", "run.1.5"]
