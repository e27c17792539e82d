"""AlphaPose output, built after doc/output.md and `write_json` in alphapose/utils/pPose_nms.py (all
three formats), and the README of Halpe-FullBody (points of 26 and 136)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimator_outputs import flat, points, read_all, read_one, write_json
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.keypoints import COCO_17
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.symmetry import find_mirror_indices
from kinesweep.features.estimators.external_outputs import find_estimator_outputs
from kinesweep.features.keypoint_selection import select_keypoints

HALPE_MIDDLE = ["head_top", "neck", "pelvis"]


def person(image: Any, x: float = 100.0, count: int = 17, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "keypoints": flat(count, x), "score": 2.5, **more}


def cmu(x: float, key: str, count: int = 18) -> dict[str, Any]:
    """The people of an image with `--format cmu` or `open`."""
    people, entry = {"cmu": ("bodies", "joints"), "open": ("people", "pose_keypoints_2d")}[key]
    return {"version": "AlphaPose v0.3", people: [{entry: flat(count, x)}]}


def numbered(*numbers: int, names: str = "{}.jpg") -> list[Any]:
    return [person(names.format(number), float(number)) for number in numbers]


def nan_row(*values: float | None) -> Any:
    return [[np.nan if value is None else value] for value in values]


@pytest.mark.parametrize(
    ("count", "sizes", "last", "middle"),
    [
        (16, {"BODY": 16}, "left_wrist", ["pelvis", "thorax", "upper_neck", "head_top"]),
        (17, {"BODY": 17}, "right_ankle", []),
        (26, {"BODY": 26}, "right_heel", HALPE_MIDDLE),
        (68, {"BODY": 26, "LEFT_HAND": 21, "RIGHT_HAND": 21}, "right_heel", HALPE_MIDDLE),
        (
            133,
            {"BODY_133": 23, "FACE_133": 68, "LEFT_HAND_133": 21, "RIGHT_HAND_133": 21},
            "right_heel",
            [],
        ),
        (
            136,
            {"BODY_136": 26, "FACE_136": 68, "LEFT_HAND_136": 21, "RIGHT_HAND_136": 21},
            "right_heel",
            HALPE_MIDDLE,
        ),
    ],
)
def test_layouts(
    count: int, sizes: dict[str, int], last: str, middle: list[str], tmp_path: Path
) -> None:
    pose = read_one("alphapose", write_json(tmp_path / "a.json", [person("0.jpg", count=count)]))
    assert {name: len(names) for name, names in pose.components} == sizes
    body = pose.components[0][1]
    assert body[-1] == last and [n for n in body if "_" not in n or n in middle] == (
        (["nose"] if count != 16 else []) + middle
    )
    if count > 16:
        assert body[:17] == list(COCO_17)
    np.testing.assert_allclose(pose.data[0, 0], points(count), rtol=1e-6)
    layout = PointLayout(tuple((part, tuple(names)) for part, names in pose.components))
    shoulders = select_keypoints(layout, "all", True).shoulders
    assert shoulders == (body.index("right_shoulder"), body.index("left_shoulder"))
    assert None not in find_mirror_indices(layout)


def test_a_hand_alone_has_no_side(tmp_path: Path) -> None:
    pose = read_one("alphapose", write_json(tmp_path / "a.json", [person("0.jpg", count=21)]))
    assert [(name, len(names)) for name, names in pose.components] == [("HAND", 21)]


def test_other_numbers_of_points_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [person("0.jpg", count=24)])
    with pytest.raises(ClipError, match=r"24 points.* 17 \(COCO\), .*26 .*133 .*136 \(Halpe"):
        read_one("alphapose", path)
    mixed = [person("0.jpg"), person("1.jpg", count=26)]
    with pytest.raises(ClipError, match=r"different numbers of points: \[17, 26\]"):
        read_one("alphapose", write_json(path, mixed))


@pytest.mark.parametrize("key", ["cmu", "open"])
@pytest.mark.parametrize(("count", "first"), [(18, "Nose"), (15, "Head")])
def test_objects_of_images(key: str, count: int, first: str, tmp_path: Path) -> None:
    """With `--format cmu` and `open`, points are in OpenPose's order."""
    images = {f"{number}.jpg": cmu(float(number), key, count) for number in (2, 0)}
    pose = read_one("alphapose", write_json(tmp_path / "alphapose-results.json", images))
    np.testing.assert_array_equal(pose.x, nan_row(0, None, 2))
    ((name, body),) = pose.components
    assert (name, body[0], body[2], len(body)) == ("pose_keypoints_2d", first, "RShoulder", count)


def test_files_of_images_are_a_sequence_but_not_beside_the_whole(tmp_path: Path) -> None:
    for number in (0, 1, 10):
        write_json(tmp_path / f"clip/sep-json/{number}.json", cmu(float(number), "open"))
    found = read_all("alphapose", tmp_path / "clip/sep-json")
    np.testing.assert_array_equal(found["sep-json"].x, nan_row(0, 1, *[None] * 8, 10))
    whole = {"0.jpg": cmu(7.0, "open")}
    write_json(tmp_path / "clip/alphapose-results.json", whole)
    search = find_estimator_outputs("alphapose", [tmp_path])
    assert list(search.clips) == ["clip/alphapose-results"]
    assert search.left_out == {"repeats `alphapose-results.json`": 3}


def test_objects_of_poseflow(tmp_path: Path) -> None:
    """alphapose-results-forvis-tracked.json of PoseFlow: image → people."""
    people = {
        "0.jpg": [{"keypoints": flat(17, 1.0), "idx": 1}, {"keypoints": flat(17, 900.0), "idx": 2}],
        "1.jpg": [{"keypoints": flat(17, 900.0), "idx": 2}, {"keypoints": flat(17, 1.0), "idx": 1}],
    }
    assert read_one("alphapose", write_json(tmp_path / "a.json", people)).x == [[1.0, 900.0]] * 2


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["0.jpg", "1.jpg", "3.jpg"], {0: 0, 1: 1, 2: None, 3: 2}),
        (["frame_0000_1080p.jpg", "frame_0001_1080p.jpg"], {0: 0, 1: 1}),
        (["v2_0001.png", "v2_0002.png", "v2_0004.png"], {0: 0, 1: 1, 2: None, 3: 2}),
        (["a.b.1.jpg", "a.b.2.jpg"], {0: 0, 1: 1}),
        (
            ["2024-01-05 frame 1.jpeg", "2024-01-05 frame 10.jpeg"],
            {0: 0, **dict.fromkeys(range(1, 9)), 9: 1},
        ),
        (["1080p_1.jpg", "1080p_02.jpg"], {0: 0, 1: 1}),
        (["frame0001", "frame0002"], {0: 0, 1: 1}),
        ([0, 1, 2], {0: 0, 1: 1, 2: 2}),
        (["2.jpg", "3.jpg"], {0: None, 1: None, 2: 0, 3: 1}),  # nobody in the first two frames
        (["7.jpg"], {**dict.fromkeys(range(7)), 7: 0}),
        (["img_53210.jpg", "img_53211.jpg"], {0: 0, 1: 1}),
    ],
)
def test_frame_numbers_are_those_that_change(
    names: list[Any], wanted: dict[int, int | None], tmp_path: Path
) -> None:
    """The x of a person is the position of its image in the list; None: an empty frame."""
    people = [person(name, float(place)) for place, name in enumerate(names)]
    pose = read_one("alphapose", write_json(tmp_path / "a.json", people[::-1]))
    np.testing.assert_array_equal(pose.x, nan_row(*wanted.values()))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["frame_1080p_x2.jpg"], "no number in the names of the images counts"),
        (["clip.jpg", "other.jpg"], "no number in the names of the images counts"),
        (["f1_t40.jpg", "f2_t80.jpg"], "no number in the names of the images counts"),
        (["a_1.jpg", "a_2.jpg", "b_1.jpg"], r"images are of 2 videos \(`a`, `b`\)"),
        (["a1_1.jpg", "a1_2.jpg", "a2_1.jpg"], r"images are of 2 videos \(`a1`, `a2`\)"),
        (["1.jpg", "01.jpg", "2.jpg"], "same frame number"),
        (["1.jpg", 2], "some images have numbers and others have names"),
        ([1.5], "`image_id` of person 0 must be a whole number, but is `1.5`"),
        ([-1], "must be at least 0, but is -1"),
        ([None], "must be a whole number, but is null"),
        ([True], "must be a whole number, but is `True`"),
        (["0.jpg", "1000000000.jpg"], "999999999 frames are missing"),
        (["9" * 5000 + ".jpg", "1.jpg"], "."),
    ],
)
def test_unknown_frame_numbers_are_refused(names: list[Any], reason: str, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [person(name) for name in names])
    with pytest.raises(ClipError, match=reason):
        read_one("alphapose", path)


@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: float(n), lambda n: [float(n)]])
def test_people_are_followed_by_idx(wrap: Any, tmp_path: Path) -> None:
    """They cross, so their positions would join the wrong ones; the order changes too."""
    people = [
        *(person("0.jpg", 0.0, idx=wrap(1)), person("0.jpg", 900.0, idx=wrap(2))),
        *(person("1.jpg", 0.0, idx=wrap(2)), person("1.jpg", 900.0, idx=wrap(1))),
        person("2.jpg", 450.0, idx=[[wrap(2)], [wrap(1)]]),  # merged by AlphaPose
    ]
    pose = read_one("alphapose", write_json(tmp_path / "a.json", people))
    np.testing.assert_array_equal(pose.x, [[0, 900], [900, 0], [np.nan, 450]])


def test_an_idx_that_everybody_has_is_none(tmp_path: Path) -> None:
    """AlphaPose without tracking writes 0 for all: people are followed by their positions."""
    people = [
        *(person("0.jpg", 0.0, idx=[0.0]), person("0.jpg", 900.0, idx=[0.0])),
        *(person("1.jpg", 905.0, idx=[0.0]), person("1.jpg", 3.0, idx=[0.0])),
    ]
    pose = read_one("alphapose", write_json(tmp_path / "a.json", people))
    assert pose.x == [[0.0, 900.0], [3.0, 905.0]]


def test_only_the_suffix_is_taken_off_names(tmp_path: Path) -> None:
    stems = ["abc-00:00:18.285-00:00:21.521", "abc-00:00:18.990", "abc", ".".join("abc")]
    for stem in stems:
        write_json(tmp_path / f"{stem}.json", numbered(0, 1))
    (tmp_path / "x.json").mkdir()
    (tmp_path / "video.mp4").touch()
    search = find_estimator_outputs("alphapose", [tmp_path])
    assert sorted(search.clips) == sorted(stems)
    assert search.left_out == {"name does not end in `.json`": 1}
