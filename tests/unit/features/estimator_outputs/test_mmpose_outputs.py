"""MMPose output, built after mmpose/apis/inferencers/base_mmpose_inferencer.py (`pred_out_dir`: a
file per video or image), `split_instances`, demo/topdown_demo_with_mmdet.py (`--save-predictions`)
and the data sets in configs/_base_/datasets; results of MMPose 0.x after its demos."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimator_outputs import points, read_all, read_one, write_json
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.keypoints import COCO_17


def person(x: float = 100.0, count: int = 17, **more: Any) -> dict[str, Any]:
    """An instance as the inferencer writes it."""
    whole = points(count, x)
    return {
        "keypoints": whole[:, :2].tolist(),
        "keypoint_scores": whole[:, 2].tolist(),
        "bbox": [[0, 0, 9, 9]],
        "bbox_score": 0.9,
    } | more


def frames(*rows: list[Any], first: int = 0) -> list[Any]:
    return [{"frame_id": first + n, "instances": row} for n, row in enumerate(rows)]


def meta(*names: str) -> dict[str, Any]:
    return {"keypoint_id2name": {str(index): name for index, name in enumerate(names)}}


@pytest.mark.parametrize(
    ("count", "components", "some"),
    [
        (16, {"BODY": 16}, {0: "right_ankle", 9: "head_top"}),
        (17, {"BODY": 17}, dict(enumerate(COCO_17))),
        (21, {"HAND": 21}, {}),
        (26, {"BODY": 26}, {17: "head", 18: "neck", 19: "hip", 20: "left_big_toe"}),
        (68, {"FACE": 68}, {}),
        (98, {"WFLW_98": 98}, {97: "kpt-97"}),
        (106, {"LAPA_106": 106}, {0: "kpt-0"}),
        (133, {"BODY": 23, "FACE": 68, "LEFT_HAND": 21, "RIGHT_HAND": 21}, {22: "right_heel"}),
        (
            136,
            {"BODY_136": 26, "FACE_136": 68, "LEFT_HAND_136": 21, "RIGHT_HAND_136": 21},
            {17: "head_top"},
        ),
    ],
)
def test_layouts_without_names(
    count: int, components: dict[str, int], some: dict[int, str], tmp_path: Path
) -> None:
    pose = read_one("mmpose", write_json(tmp_path / "a.json", frames([person(count=count)])))
    assert {name: len(names) for name, names in pose.components} == components
    assert {index: pose.components[0][1][index] for index in some} == some
    np.testing.assert_allclose(pose.data[0, 0], points(count), rtol=1e-6)


def test_other_layouts_need_names(tmp_path: Path) -> None:
    """14 points may be those of AI Challenger or of CrowdPose."""
    path = write_json(tmp_path / "a.json", frames([person(count=14)]))
    with pytest.raises(ClipError, match=r"14 points.*17 \(COCO\).*133 .*`keypoint_id2name`"):
        read_one("mmpose", path)
    names = [f"joint {index}" for index in range(14)]
    content = {"meta_info": meta(*names), "instance_info": frames([person(count=14)], first=1)}
    assert read_one("mmpose", write_json(path, content)).components == [("BODY", names)]
    content["meta_info"] = meta(*names[:13])
    with pytest.raises(ClipError, match="`keypoint_id2name` does not name exactly these"):
        read_one("mmpose", write_json(path, content))


@pytest.mark.parametrize("first", [0, 1])
def test_videos_are_numbered_from_0_or_1(first: int, tmp_path: Path) -> None:
    """The inferencer counts from 0, the demos from 1; both write frames without people."""
    rows = [[], [person(1.0)], [], [person(3.0)], []]
    path = write_json(tmp_path / "a.json", {"instance_info": frames(*rows, first=first)})
    pose = read_one("mmpose", path)
    np.testing.assert_array_equal(pose.x, [[np.nan], [1.0], [np.nan], [3.0], [np.nan]])


def test_a_file_an_image_is_a_sequence(tmp_path: Path) -> None:
    """Two videos in one folder, one in another; images without people; files of videos beside."""
    for number in (1, 2, 4):
        write_json(tmp_path / f"in/one/{number:04d}.json", [person(float(number))])
        write_json(tmp_path / f"in/two/a.v2_{number}_720p.json", [person(10.0 + number)])
    write_json(tmp_path / "in/two/b_1.json", [])
    write_json(tmp_path / "in/two/b_2.json", [person(22.0)])
    for number in (1, 2):
        write_json(tmp_path / f"in/videos/clip{number}.json", frames([person(float(number))]))
    write_json(tmp_path / "in/two/whole.json", {"instance_info": frames([person()])})
    found = read_all("mmpose", tmp_path / "in")
    wanted = {
        "one": [1, 2, np.nan, 4],
        "two/a.v2_720p": [11, 12, np.nan, 14],
        "two/b": [np.nan, 22],
        "two/whole": [100],
        "videos/clip1": [1],
        "videos/clip2": [2],
    }
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal([row[0] for row in found[name].x], values)


def test_single_images(tmp_path: Path) -> None:
    """As a list of people, and with the points' names as the demos write them."""
    for content in ([person()], {"meta_info": {}, "instance_info": [person()]}):
        pose = read_one("mmpose", write_json(tmp_path / "0001.json", content))
        assert pose.x == [[100.0]] and "that of a single image" in pose.notes


def test_a_sequence_may_begin_with_many_images_without_people(tmp_path: Path) -> None:
    for number in range(30):
        write_json(tmp_path / f"clip/{number}.json", [] if number < 29 else [person()])
    pose = read_one("mmpose", tmp_path)
    assert len(pose.x) == 30 and pose.x[29] == [100.0] and pose.notes == ""


def test_sequences_that_contain_a_video_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "clip/0001.json", [person()])
    write_json(tmp_path / "clip/0002.json", frames([person()]))
    with pytest.raises(ClipError, match=r"`0002\.json` is of a video, but others are of single"):
        read_one("mmpose", tmp_path)


def test_results_of_0_x(tmp_path: Path) -> None:
    """Lists of people per frame; points with their scores; people with tracking ids."""

    def old(x: float, track_id: int) -> dict[str, Any]:
        return {"bbox": [0, 0, 9, 9, 1], "keypoints": points(17, x).tolist(), "track_id": track_id}

    rows = [[old(1.0, 3), old(800.0, 5)], [], [old(1.0, 5), old(800.0, 3)]]
    pose = read_one("mmpose", write_json(tmp_path / "a.json", rows))
    np.testing.assert_array_equal(pose.x, [[1, 800], [np.nan, np.nan], [800, 1]])
    np.testing.assert_allclose(pose.data[0, 0], points(17, 1.0), rtol=1e-6)


def test_poses_of_lifters_are_refused_by_name(tmp_path: Path) -> None:
    lifted = person(keypoints=[[0.1, 0.2, 0.3]] * 17)
    with pytest.raises(ClipError, match=r"3-D \(x, y, z\), as a pose lifter writes them"):
        read_one("mmpose", write_json(tmp_path / "a.json", frames([lifted])))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (frames([person()]) * 2, "frame 0 occurs twice"),
        ([{"frame_id": 0.5, "instances": []}], "must be a whole number, but is `0.5`"),
        ([{"frame_id": -1, "instances": []}], "must be at least 0"),
        ([{"frame_id": 0}], "entry 0 has the keys 'frame_id'; a frame of a video has"),
        (frames([person(keypoint_scores=None)]), "has no `keypoint_scores`"),
        (frames([person(keypoint_scores=[1.0])]), "17 points, but 1 scores"),
        (frames([person(keypoints=[[1, 2, 3, 4]])]), r"have \[4\] numbers, but must have 2"),
        (frames([person(keypoints=[[1, 2], [1]])]), r"have \[1, 2\] numbers"),
        (frames([person(keypoints=[])]), r"must be a list of \[x, y\]"),
        (frames([[person()]]), "person 0 of frame 0 must be an object, but is a list"),
        (frames([person(track_id="a")]), "`track_id` of person 0 .* must be a whole number"),
        ({"predictions": []}, "an object with `instance_info`"),
        ({"instance_info": frames([person()]), "meta_info": [1]}, "`meta_info` must be an object"),
        ([], "no people were detected"),
        (frames([], []), "no people were detected"),
    ],
)
def test_other_contents_are_refused(content: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=reason):
        read_one("mmpose", write_json(tmp_path / "a.json", content))
