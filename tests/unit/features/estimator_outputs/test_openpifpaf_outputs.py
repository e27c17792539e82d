"""OpenPifPaf output, built after openpifpaf/predict.py (`.predictions.json` per image), video.py
(JSON lines) and plugins/wholebody/constants.py (133 points)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimator_outputs import flat, points, read_all, read_one, write_json
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.keypoints import COCO_17


def person(x: float = 100.0, count: int = 17, **more: Any) -> dict[str, Any]:
    return {
        "keypoints": flat(count, x),
        "bbox": [0, 0, 9, 9],
        "score": 0.8,
        "category_id": 1,
    } | more


def write_video(path: Path, *rows: list[Any], first: int = 1, end: str = "\n") -> Path:
    lines = [json.dumps({"frame": first + n, "predictions": row}) for n, row in enumerate(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(end.join(lines) + end)
    return path


@pytest.mark.parametrize(
    ("count", "components"),
    [
        (17, {"BODY": 17}),
        (133, {"BODY": 23, "FACE": 68, "LEFT_HAND": 21, "RIGHT_HAND": 21}),
    ],
)
def test_layouts(count: int, components: dict[str, int], tmp_path: Path) -> None:
    pose = read_one("openpifpaf", write_video(tmp_path / "a.json", [person(count=count)]))
    assert {name: len(names) for name, names in pose.components} == components
    assert pose.components[0][1][:17] == list(COCO_17)
    np.testing.assert_allclose(pose.data[0, 0], points(count), rtol=1e-6)


def test_other_numbers_of_points_are_refused(tmp_path: Path) -> None:
    """24 points are those of cars (ApolloCar3D)."""
    path = write_video(tmp_path / "a.json", [person(count=24)])
    with pytest.raises(ClipError, match=r"24 points.* 17 \(COCO\), 133 \(COCO-WholeBody\)"):
        read_one("openpifpaf", path)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_videos(first: int, end: str, tmp_path: Path) -> None:
    rows = [[], [person(1.0)], [], [person(3.0)], []]
    pose = read_one("openpifpaf", write_video(tmp_path / "a.json", *rows, first=first, end=end))
    np.testing.assert_array_equal(pose.x, [[np.nan], [1.0], [np.nan], [3.0], [np.nan]])


def test_files_of_images_are_a_sequence(tmp_path: Path) -> None:
    for number in (3, 4, 6):
        people = [person(float(number))] if number > 3 else []
        write_json(tmp_path / f"v1.2/img_{number:03d}.jpg.predictions.json", people)
    write_video(tmp_path / "videos/clip1.openpifpaf.json", [person(1.0)])
    write_video(tmp_path / "videos/clip2.openpifpaf.json", [person(2.0)], [])
    found = read_all("openpifpaf", tmp_path)
    assert [len(found[f"videos/clip{number}"].data) for number in (1, 2)] == [1, 2]
    pose = found["v1.2"]
    np.testing.assert_array_equal(pose.x, [[np.nan], [4.0], [np.nan], [6.0]])


def test_names_lose_the_suffixes_that_the_tool_adds(tmp_path: Path) -> None:
    names = ("a.b.mp4.openpifpaf.json", "a.c.mov.openpifpaf.json", "d.1.5.json")
    for name in names:
        write_video(tmp_path / name, [person()])
    write_json(tmp_path / "photo.PNG.predictions.json", [person()])
    write_json(tmp_path / "old.jpg.pifpaf.json", [person()])
    assert sorted(read_all("openpifpaf", tmp_path)) == ["a.b", "a.c", "d.1.5", "old", "photo"]


def test_people_are_followed_by_their_ids(tmp_path: Path) -> None:
    rows = [
        [person(1.0, id_=7), person(800.0, id_=9)],
        [person(1.0, id_=9), person(800.0, id_=7)],
    ]
    assert read_one("openpifpaf", write_video(tmp_path / "a.json", *rows)).x == [[1, 800], [800, 1]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "contains no frames"),
        ("\n \n", "contains no frames"),
        ('{"frame": 1, "predictions": []}\n', "no people were detected"),
        ('{"frame": 1, "predictions": []}\n' * 2, "frame 1 occurs twice, .* line 2"),
        ('{"frame": 1, "predictions": []}\n{"frame": 2, "pre', "line 2 is not JSON"),
        ('{"predictions": []}\n', "`frame` of line 1 must be a whole number, but is null"),
        ('{"frame": 1}\n', "`predictions` of line 1 must be a list"),
        ('{"frame": 1, "predictions": [{"bbox": []}]}\n', "`keypoints` of person 0 of frame 1"),
        ("[]", "no people were detected"),
    ],
)
def test_other_contents_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ClipError, match=reason):
        read_one("openpifpaf", tmp_path / "a.json")
