"""One example of TensorFlow Datasets becomes plain values and files, or reasons why not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose_format import PoseHeader
from pose_format.utils.reader import BufferReader

from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.prepare.media.row_journal import link_file, write_file
from kinesweep.sources.prepare.tfds.example_files import ExampleWriter
from poses import HOLISTIC, header, signer

HEADER = PoseHeader.read(BufferReader(header(0.1)))


def write(out: Path, example: dict[str, Any], *paths: str) -> tuple[dict[str, Any], list[str]]:
    writer = ExampleWriter(
        out,
        "train",
        find_header=lambda field: None if field == "bare" else HEADER,
        path_fields=paths,
        write_file=write_file,
        link_file=link_file,
    )
    return writer.write(example, "clip")


def pose(**changes: Any) -> dict[str, Any]:
    points = signer(frames=4)
    return {"data": points, "conf": points[..., 0] * 0 + 1, "fps": np.int32(50), **changes}


def test_two_people_have_files_of_their_own(tmp_path: Path) -> None:
    values, files = write(tmp_path, {"poses": {"a": pose(), "b": pose()}})
    assert files == ["poses/train/clip.a.pose", "poses/train/clip.b.pose"]
    assert values["poses"]["b"] == {"media": files[1], "frames": 4, "fps": 50.0}
    assert read_pose(tmp_path / files[0]).fps == 50


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": signer(0), "conf": signer(0)[..., 0]}, "no_pose"),
        ({"fps": np.int32(0)}, "bad_fps"),
        ({"data": signer(4, num_points=137), "conf": np.ones((4, 1, 137))}, "wrong_pose_header"),
        ({"data": signer(4, num_dims=2)}, "wrong_pose_header"),
    ],
)
def test_a_pose_that_cannot_be_a_file(tmp_path: Path, changes: Any, reason: str) -> None:
    values, files = write(tmp_path, {"pose": pose(**changes)})
    assert values == {"pose": {"media": None, "reason": reason}} and not files
    assert not list(tmp_path.iterdir())


def test_a_pose_without_a_header(tmp_path: Path) -> None:
    values, _ = write(tmp_path, {"bare": pose()})
    assert values["bare"]["reason"] == "no_pose_header"
    assert len(HOLISTIC) == len(HEADER.components)


def test_files_of_a_download_are_linked(tmp_path: Path) -> None:
    film, lost = tmp_path / "film", tmp_path / "lost.pose"
    film.write_bytes(b"film")
    views = {"pose": np.array([str(film).encode(), str(lost).encode(), b""], object)}
    example = {"video": str(film).encode(), "views": views, "text": str(film).encode()}
    values, files = write(tmp_path / "out", example, "video", "views.pose")
    assert values["video"] == {"media": "videos/train/clip.mp4"}
    assert values["text"] == str(film)
    assert [view.get("reason") for view in values["views"]["pose"]] == [
        *(None, "missing_file", "no_media"),
    ]
    assert files == ["videos/train/clip.mp4", "videos/train/clip.0.mp4"]
    assert all((tmp_path / "out" / file).samefile(film) for file in files)


def test_other_values_become_plain(tmp_path: Path) -> None:
    class Ragged:
        def to_list(self) -> list[Any]:
            return [[b"a"], []]

    values, _ = write(
        tmp_path,
        {
            "text": "größe".encode(),
            "number": np.int32(3),
            "times": {"start": np.array([1, 2])},
            "ragged": Ragged(),
            "video": np.zeros((2, 4, 4, 3), np.uint8),
        },
    )
    assert values == {
        "text": "größe",
        "number": 3,
        "times": {"start": [1, 2]},
        "ragged": [["a"], []],
        "video": {"media": None, "reason": "decoded_frames"},
    }
