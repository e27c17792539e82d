"""Outputs of other estimators become pose files: frames by number, persons in order."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.cli import main
from kinesweep.cli.pose_estimation import import_poses
from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.core.errors import ClipError, InputError
from kinesweep.features import build_features
from kinesweep.features.estimators.external_outputs import (
    OUTPUT_READERS,
    VideoProperties,
    find_estimator_outputs,
    read_estimator_output,
)
from kinesweep.features.estimators.external_outputs.clip_output import ClipOutput
from kinesweep.features.estimators.external_outputs.point_layouts import KNOWN_LAYOUTS
from kinesweep.sources.pose_format.pose_file import read_pose

FILM = VideoProperties(25.0, 640, 480)
POINTS = {
    **{"openpose": 137, "openpose_25b": 137, "openpose_135": 135},
    **{"alphapose": 136, "mmpose": 133, "openpifpaf": 133},
}
WIDTHS = {name: 2 * number for name, number in POINTS.items()}
"""As far as they are published, those of the predecessor."""


def person(points: int, frame: int) -> Any:
    """Points on a diagonal that moves with the frame; confidences fall."""
    place = np.arange(points, dtype=np.float64)
    return np.stack([10 + place + frame, 20 + 2 * place, 1 - place / 200], axis=1)


def write_openpose(folder: Path, points: int) -> Path:
    """Frames 0, 1 and 3; a second person in frame 1."""
    parts = {"pose_keypoints_2d": 25, "face_keypoints_2d": 70}
    hands = {"hand_left_keypoints_2d": 21, "hand_right_keypoints_2d": 21}
    if points == 135:
        parts = {"pose_keypoints_2d": 135, "face_keypoints_2d": 0}
        hands = dict.fromkeys(hands, 0)
    folder.mkdir(parents=True)
    for frame in (0, 1, 3):
        whole = person(points, frame)
        own, at = {}, 0
        for name, count in {**parts, **hands}.items():
            own[name] = whole[at : at + count].ravel().tolist()
            at += count
        others = [own] if frame == 1 else []
        path = folder / f"a_{frame:012d}_keypoints.json"
        path.write_text(json.dumps({"people": [own, *others]}))
    return folder


def write(name: str, folder: Path) -> Path:
    """The same poses as an estimator writes them."""
    points = POINTS[name]
    if name.startswith("openpose"):
        return write_openpose(folder / "clip", points)
    folder.mkdir(parents=True, exist_ok=True)
    seen = {frame: [person(points, frame)] * (2 if frame == 1 else 1) for frame in (0, 1, 3)}
    path = folder / "clip.json"
    if name == "alphapose":
        rows = [
            {"image_id": f"{frame}.jpg", "keypoints": one.ravel().tolist(), "score": 1.0}
            for frame, found in seen.items()
            for one in found
        ]
        path.write_text(json.dumps(rows))
    elif name == "mmpose":
        frames = [
            {
                "frame_id": frame + 1,
                "instances": [
                    {"keypoints": one[:, :2].tolist(), "keypoint_scores": one[:, 2].tolist()}
                    for one in found
                ],
            }
            for frame, found in seen.items()
        ]
        path.write_text(json.dumps({"meta_info": {}, "instance_info": frames}))
    else:
        path = folder / "clip.mp4.openpifpaf.json"
        rows = [
            {"frame": frame + 1, "predictions": [{"keypoints": o.ravel().tolist()} for o in found]}
            for frame, found in seen.items()
        ]
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.mark.parametrize("name", OUTPUT_READERS)
def test_frames_persons_and_widths(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path / "in")
    ((clip, output),) = find_estimator_outputs(name, [tmp_path / "in"]).clips.items()
    assert (clip, output.path) == ("clip", path)
    assert find_estimator_outputs(name, [path]).clips == {"clip": output}
    with (tmp_path / "a.pose").open("wb") as file:
        read_estimator_output(name, output, FILM).pose.write(file)
    pose = read_pose(tmp_path / "a.pose")
    assert pose.points_TPJC.shape == (4, 1, POINTS[name], 2) and pose.fps == 25
    assert (pose.confidence_TPJ[2] == 0).all(), "frame 2 is there, with nobody in it"
    for frame in (0, 1, 3):
        points_J3 = person(POINTS[name], frame)
        found_J = pose.confidence_TPJ[frame, 0] > 0
        assert found_J.sum() >= 130
        wanted = points_J3[found_J, :2].astype(np.float32)
        np.testing.assert_array_equal(pose.points_TPJC[frame, 0, found_J], wanted)
    second = read_pose(tmp_path / "a.pose", person=1)
    assert [bool(frame.any()) for frame in second.confidence_TPJ] == [False, True, False, False]
    features = build_features(PoseFeaturesConfig(points="all", hide_legs=False))(pose)
    assert features.shape == (4, WIDTHS[name])


def test_names_of_other_layouts_come_from_the_output(tmp_path: Path) -> None:
    names = ["left_shoulder", "right_shoulder", "nose"]
    plain = {
        "meta_info": {"keypoint_id2name": {str(n): name for n, name in enumerate(names)}},
        "instance_info": [
            {
                "frame_id": 0,
                "instances": [{"keypoints": [[0, 0]] * 3, "keypoint_scores": [1, 1, 1]}],
            }
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(plain))
    output = ClipOutput((tmp_path / "a.json",))
    pose = read_estimator_output("mmpose", output, FILM).pose
    assert pose.header.components[0].points == names
    del plain["meta_info"]
    (tmp_path / "a.json").write_text(json.dumps(plain))
    with pytest.raises(ClipError, match="is not an output of mmpose"):
        read_estimator_output("mmpose", output, FILM)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"frames": []}', '[{"image_id": 3}]'])
@pytest.mark.parametrize("name", ["alphapose", "mmpose", "openpifpaf"])
def test_bad_outputs(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ClipError) as caught:
        read_estimator_output(name, ClipOutput((tmp_path / "a.json",)), FILM)
    assert caught.value.reason == "bad_output"


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("alphapose", tmp_path / "in/deep")
    (tmp_path / "in/bad.json").write_text("{}")
    (tmp_path / "in/video.mp4").touch()
    late = [{"image_id": f"x_{n}.jpg", "keypoints": [1.0] * 51} for n in (5000, 5001)]
    (tmp_path / "in/late.json").write_text(json.dumps(late))
    words = ["import-poses", "alphapose", str(tmp_path / "in"), str(tmp_path / "out")]
    told = call([*words, "640x480@25", "--json"], capsys)
    assert (told["written"], list(told["failed"])) == (2, ["bad"])
    assert told["people"] == {"1": 1, "2": 1}
    assert told["left_out"] == {"name does not end in `.json`": 1}
    assert "numbered from 5000" in told["notes"]["late"][0]
    assert (tmp_path / "out/deep/clip.pose").is_file()
    for wrong in ("640x480@25", "640x480", "0x480@25", "640x480@0", "70000x480@25", "9x9@9e9"):
        call([*words, wrong], capsys, code=2)
    call([*words, "640x480@25", "--overwrite"], capsys)
    told = call([*words, "640x480@25", "--overwrite", "--first-frame", "4999", "--json"], capsys)
    assert "The first 1 frames have no entry" in told["notes"]["late"][0]
    with pytest.raises(InputError, match="are not supported"):
        find_estimator_outputs("posenet", [tmp_path])


def test_the_result_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for clip in "abcdefg":
        folder = write_openpose(tmp_path / "in" / clip, 137)
        (folder / "a_000000000000_keypoints.json").unlink()
    (tmp_path / "in/.DS_Store").touch()
    with pytest.raises(SystemExit):
        main(["import-poses", "openpose", str(tmp_path / "in"), str(tmp_path / "out"), "64x48@25"])
    lines = capsys.readouterr().err.splitlines()[-9:]
    assert lines[:3] == [
        "7 written, 0 failed",
        "people per clip: 7 with 2",
        "1 files left out: hidden file",
    ]
    assert lines[3] == "a: 1 of 3 frames have no entry and are empty."
    assert lines[8] == "2 more clips have notes; `--json` shows all of them"


def test_the_help_lists_what_is_supported() -> None:
    """The command does not import the tables, which would make `--help` slow."""
    text = " ".join((import_poses.__doc__ or "").split())
    for tool in ("OpenPose", "AlphaPose", "MMPose", "OpenPifPaf"):
        sentence = text.split(tool)[1].split(")")[0]
        told = {int(number) for number in re.findall(r"\b[0-9]+\b", sentence)}
        assert told == set(KNOWN_LAYOUTS[tool.lower()])
    assert "`openpose_25b` is BODY_25B" in text


def call(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    with pytest.raises(SystemExit) as left:
        main(words)
    said = capsys.readouterr()
    assert (left.value.code or 0) == code, said.err
    return json.loads(said.out.splitlines()[-1]) if "--json" in words else None
