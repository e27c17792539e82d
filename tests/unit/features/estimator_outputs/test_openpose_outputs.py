"""OpenPose output, built after doc/02_output.md of OpenPose (JSON Output Format) and its versions
0.1 (`body_parts`), 1.0 (`pose_keypoints`) and 1.1 to 1.3, and after poseParameters.cpp (points)."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose_format.utils.openpose import BODY_POINTS, load_openpose_directory

from estimator_outputs import (
    PARTS,
    VIDEO,
    flat,
    openpose_person,
    points,
    read_all,
    read_one,
    write_json,
    write_openpose,
)
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.symmetry import find_mirror_indices
from kinesweep.features.estimators.external_outputs import (
    find_estimator_outputs,
    read_estimator_output,
)
from kinesweep.features.keypoint_selection import select_keypoints


def names(number: int) -> str:
    return f"clip_{number:012d}"


def video(folder: Path, *people: list[Any], first: int = 0) -> Path:
    return write_openpose(folder, {names(first + n): row for n, row in enumerate(people)})


def test_body_25_gives_the_bytes_of_pose_format(tmp_path: Path) -> None:
    folder = video(tmp_path / "clip", [openpose_person()], [], [openpose_person(103.0)])
    (output,) = find_estimator_outputs("openpose", [folder]).clips.values()
    ours, theirs = BytesIO(), BytesIO()
    read_estimator_output("openpose", output, VIDEO).pose.write(ours)
    load_openpose_directory(str(folder), VIDEO.fps, VIDEO.width, VIDEO.height).write(theirs)
    assert ours.getvalue() == theirs.getvalue()


@pytest.mark.parametrize("missing", PARTS)
@pytest.mark.parametrize("how", ["empty", "absent"])
def test_each_component_stays_at_its_own_offset(missing: str, how: str, tmp_path: Path) -> None:
    person = openpose_person()
    if how == "empty":
        person[missing] = []
    else:
        del person[missing]
    # The second frame has all components, so the layout is that of the whole video.
    pose = read_one("openpose", video(tmp_path / "clip", [person], [openpose_person()]))
    offset = 0
    for part, size, x in zip(PARTS, (25, 70, 21, 21), (100, 1100, 2100, 3100), strict=True):
        wanted = np.zeros((size, 3)) if part == missing else points(size, x)
        np.testing.assert_allclose(pose.data[0, 0, offset : offset + size], wanted, rtol=1e-6)
        np.testing.assert_allclose(pose.data[1, 0, offset, 0], x)
        offset += size
    assert offset == pose.data.shape[2]


@pytest.mark.parametrize(
    ("estimator", "count", "first", "last", "shoulder"),
    [
        ("openpose", 15, "Head", "Chest", 2),
        ("openpose", 18, "Nose", "LEar", 2),
        ("openpose", 25, "Nose", "RHeel", 2),
        ("openpose_25b", 25, "Nose", "RHeel", 6),
        ("openpose", 135, "Nose", "LPupil", 6),
        ("openpose_135", 135, "Nose", "LPupil", 6),
    ],
)
def test_bodies_are_known_by_their_number_of_points(
    estimator: str, count: int, first: str, last: str, shoulder: int, tmp_path: Path
) -> None:
    others = {part: [] for part in PARTS[1:]} if count == 135 else {}
    person = openpose_person(body=count, **others)
    pose = read_one(estimator, video(tmp_path / "clip", [person]))
    name, body = pose.components[0]
    assert (len(body), body[0], body[-1], body[shoulder]) == (count, first, last, "RShoulder")
    np.testing.assert_allclose(pose.data[0, 0, :count], points(count), rtol=1e-6)
    assert pose.data.shape[2] == (135 if count == 135 else count + 112)
    if count != 135:
        assert pose.data[0, 0, count : count + 91 : 70, 0].tolist() == [1100, 2100]
    layout = PointLayout(tuple((part, tuple(points)) for part, points in pose.components))
    selection = select_keypoints(layout, "all", True)
    assert selection.shoulders == (shoulder, body.index("LShoulder"))
    assert len(selection.legs) == sum(
        any(word in point for word in ("Hip", "Knee", "Ankle", "Toe", "Heel")) for point in body
    )
    # The mirror image of its face is not known, because points of the face have no own component.
    assert count == 135 or None not in find_mirror_indices(layout)
    assert name == ("BODY_135" if count == 135 else "pose_keypoints_2d")


def test_coco_18_is_body_25_without_middle_of_hips_and_feet(tmp_path: Path) -> None:
    pose = read_one("openpose", video(tmp_path / "clip", [openpose_person(body=18)]))
    assert pose.components[0][1] == [name for name in BODY_POINTS[:19] if name != "MidHip"]


def test_unknown_bodies_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    for count in (14, 19, 23, 59):
        folder = video(tmp_path / f"clip{count}", [openpose_person(body=count)])
        with pytest.raises(ClipError, match=rf"{count} points.*15 \(MPI\), 18 \(COCO\), 25"):
            read_one("openpose", folder)
    with pytest.raises(
        ClipError, match=r"`hand_left_keypoints_2d` has 20 points, but must have 21"
    ):
        read_one(
            "openpose",
            video(tmp_path / "hand", [openpose_person(hand_left_keypoints_2d=flat(20))]),
        )
    with pytest.raises(ClipError, match=r"different numbers of points: \[18, 25\]"):
        read_one(
            "openpose", video(tmp_path / "both", [openpose_person()], [openpose_person(body=18)])
        )


@pytest.mark.parametrize("body", [15, 18, 25])
def test_the_first_versions_of_the_format(body: int, tmp_path: Path) -> None:
    new = openpose_person(body=body)
    version_1_0 = {key.removesuffix("_2d"): new[key] for key in PARTS}
    wanted = read_one("openpose", video(tmp_path / "new/clip", [new]))
    found = read_one("openpose", video(tmp_path / "old/clip", [version_1_0]))
    np.testing.assert_array_equal(found.data, wanted.data)
    for key, entry in (("people", "body_parts"), ("bodies", "joints")):  # 0.1
        write_json(
            tmp_path / f"{key}/clip/{names(0)}_keypoints.json",
            {"version": 0.1, key: [{entry: new["pose_keypoints_2d"]}]},
        )
        found = read_one("openpose", tmp_path / key)
        np.testing.assert_array_equal(found.data[..., :body, :], wanted.data[..., :body, :])
        assert not found.data[..., body:, :].any()


def test_points_in_3d_are_refused_or_named(tmp_path: Path) -> None:
    only = {"pose_keypoints_3d": [1.0, 2.0, 3.0, 1.0] * 25, "pose_keypoints_2d": []}
    with pytest.raises(ClipError, match="3-D points only"):
        read_one("openpose", video(tmp_path / "only/clip", [only]))
    both = openpose_person(pose_keypoints_3d=[1.0, 2.0, 3.0, 1.0] * 25)
    pose = read_one("openpose", video(tmp_path / "both/clip", [both]))
    assert pose.x == [[100.0]] and "3-D points were left out" in pose.notes


def test_scaled_coordinates_are_told(tmp_path: Path) -> None:
    """`--keypoint_scale 3` and `4` give numbers from 0 to 1 and from -1 to 1."""
    person = openpose_person()
    for part in PARTS:
        person[part] = [number / 5000 for number in person[part]]
    assert "not pixels" in read_one("openpose", video(tmp_path / "clip", [person])).notes
    assert read_one("openpose", video(tmp_path / "other", [openpose_person()])).notes == ""


def test_people_without_any_component_are_nobody(tmp_path: Path) -> None:
    empty = openpose_person() | {part: [] for part in PARTS}
    with pytest.raises(ClipError, match="no people were detected"):
        read_one("openpose", video(tmp_path / "a", [empty], [empty]))
    pose = read_one("openpose", video(tmp_path / "b", [openpose_person()], [empty]))
    np.testing.assert_array_equal(pose.x, [[100.0], [np.nan]])


def test_without_a_body_its_points_are_missing(tmp_path: Path) -> None:
    pose = read_one("openpose", video(tmp_path / "clip", [openpose_person(pose_keypoints_2d=[])]))
    assert not pose.data[0, 0, :25].any() and pose.data[0, 0, 25, 0] == 1100
    assert "No body was estimated" in pose.notes


def test_each_prefix_is_a_video(tmp_path: Path) -> None:
    """Prefixes with dots, digits, separators and other numbers; a single one is the folder."""
    prefixes = ("G", "H.v2-00:01.5", "cam1_take_02", "cam1_take_03")
    for number, prefix in enumerate(prefixes):
        frames = {f"{prefix}_{n:012d}": [openpose_person(10.0 * number)] for n in range(number + 1)}
        write_openpose(tmp_path / "in/deep", frames)
    video(tmp_path / "in/deep/single", [openpose_person()])
    video(tmp_path / "in", [openpose_person()])
    found = read_all("openpose", tmp_path / "in")
    lengths = {name: len(pose.data) for name, pose in found.items()}
    assert lengths == {
        "in": 1,  # files directly in the folder beside those of its subfolders
        "deep/single": 1,
        **{f"deep/{prefix}": number + 1 for number, prefix in enumerate(prefixes)},
    }
    assert found["deep/cam1_take_03"].x == [[30.0]] * 4


def test_names_of_images_are_numbered_by_the_number_that_changes(tmp_path: Path) -> None:
    """OpenPose on a folder of images: `--image_dir` keeps the names of the images."""
    frames = {f"frame_{n:04d}_1080p": [openpose_person(n)] for n in (7, 8, 10)}
    pose = read_one("openpose", write_openpose(tmp_path / "clip", frames))
    np.testing.assert_array_equal(pose.x, [[7.0], [8.0], [np.nan], [10.0]])
    assert "1 of 4 frames have no entry" in pose.notes and "numbered from 7" in pose.notes


@pytest.mark.parametrize("first", [0, 1, 17, 53210, 999_999_999_990])
def test_the_pose_starts_at_the_first_frame_that_there_is(first: int, tmp_path: Path) -> None:
    folder = video(
        tmp_path / "clip", [openpose_person(1.0)], [], [openpose_person(3.0)], first=first
    )
    pose = read_one("openpose", folder)
    np.testing.assert_array_equal(pose.x, [[1.0], [np.nan], [3.0]])
    assert (f"numbered from {first}" in pose.notes) == (first > 1)


def test_frames_without_people_stay_at_both_ends(tmp_path: Path) -> None:
    pose = read_one("openpose", video(tmp_path / "clip", [], [openpose_person()], [], []))
    np.testing.assert_array_equal(pose.x, [[np.nan], [100.0], [np.nan], [np.nan]])


def test_a_given_first_frame_keeps_the_frames_before_the_output(tmp_path: Path) -> None:
    folder = video(tmp_path / "clip", [openpose_person()], first=3)
    pose = read_one("openpose", folder, first_frame=1)
    assert len(pose.data) == 3 and "first 2 frames have no entry" in pose.notes
    with pytest.raises(ClipError, match="frame 3 comes before the first frame, 5"):
        read_one("openpose", folder, first_frame=5)


def test_gaps_of_frames_stay_empty_but_absurd_ones_are_refused(tmp_path: Path) -> None:
    folder = video(tmp_path / "clip", [openpose_person()])
    write_openpose(folder, {names(1400): [openpose_person()]})
    assert len(read_one("openpose", folder).data) == 1401
    write_openpose(folder, {names(200_000_000_000): [openpose_person()]})
    with pytest.raises(ClipError, match="199999998599 frames are missing between the frames 1400"):
        read_one("openpose", folder)


def test_other_files_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = video(tmp_path / "clip", [openpose_person()])
    for name in (".DS_Store", f"._{names(0)}_keypoints.json", "clip.avi", "a_heatmaps.json"):
        (folder / name).write_bytes(b"\x00Bud1")
    (folder / f"{names(7)}_keypoints.json").mkdir()
    search = find_estimator_outputs("openpose", [tmp_path])
    assert dict(search.left_out) == {
        "hidden file": 2,
        "name does not end in `_keypoints.json`": 2,
    }
    assert read_one("openpose", tmp_path).x == [[100.0]]


def test_a_file_is_a_video_of_one_frame_only_if_openpose_names_it_so(tmp_path: Path) -> None:
    folder = video(tmp_path / "clip", [openpose_person()], first=3)
    assert list(read_all("openpose", folder / f"{names(3)}_keypoints.json")) == ["clip"]
    path = write_json(tmp_path / "clip.json", {"people": [openpose_person()]})
    with pytest.raises(InputError, match=r"NAME_000000000000_keypoints\.json"):
        find_estimator_outputs("openpose", [path])
    path.rename(tmp_path / "clip/other.json")
    (folder / f"{names(3)}_keypoints.json").unlink()
    with pytest.raises(InputError, match=r"expected files like .*, found 1 × name does not end"):
        find_estimator_outputs("openpose", [tmp_path])


def test_two_files_of_one_frame_are_refused(tmp_path: Path) -> None:
    folder = write_openpose(
        tmp_path / "clip", {"a_1": [openpose_person()], "a_01": [], "a_2": [openpose_person()]}
    )
    with pytest.raises(ClipError, match=r"a_01_keypoints.json` and `a_1_keypoints.json` are both"):
        read_one("openpose", folder)


def test_tracking_ids_are_followed_and_minus_1_is_none(tmp_path: Path) -> None:
    left, right = (openpose_person(x, person_id=[n]) for x, n in ((100.0, 4), (500.0, 9)))
    crossed = [openpose_person(500.0, person_id=[4]), openpose_person(100.0, person_id=[9])]
    pose = read_one("openpose", video(tmp_path / "clip", [left, right], crossed))
    assert pose.x == [[100.0, 500.0], [500.0, 100.0]]
    for row in ([left, right], crossed):
        for person in row:
            person["person_id"] = [-1]
    pose = read_one("openpose", video(tmp_path / "clip", [left, right], crossed))
    assert pose.x == [[100.0, 500.0], [100.0, 500.0]]


def test_content_in_utf_16_is_read(tmp_path: Path) -> None:
    folder = video(tmp_path / "clip", [openpose_person()])
    (path,) = folder.iterdir()
    for encoding in ("utf-16", "utf-8-sig", "utf-32"):
        path.write_text(json.dumps({"people": [openpose_person()]}), encoding=encoding)
        assert read_one("openpose", folder).x == [[100.0]]
