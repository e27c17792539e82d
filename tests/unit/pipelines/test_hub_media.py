"""Media of data sets: poses, videos, features and files, which stay inside their folder."""

import io
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

from hub_datasets import prepare, save, table
from kinesweep.core.errors import ClipError, InputError
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.prepare.hub import row_media
from kinesweep.sources.prepare.hub.hub_files import HubFiles
from poses import pose_file, signer


def test_rows_that_are_no_clips_are_counted_with_their_reasons(tmp_path: Path) -> None:
    data, pose = tmp_path / "data", pose_file()
    rows = [
        {"pose": pose, "text": "good", "id": "a"},
        {"pose": None, "text": "x", "id": "b"},
        {"pose": b"", "text": "x", "id": "c"},
        {"pose": b"GIF89a not a pose", "text": "x", "id": "d"},
        {"pose": pose, "text": "  ", "id": "e"},
        {"pose": pose, "text": None, "id": "f"},
        {"pose": pose, "text": "good", "id": "../../escape"},
    ]
    result = prepare(save(data, rows), tmp_path / "out")
    assert result.dropped == {"train": {"empty_text": 2, "no_media": 2, "not_a_pose_file": 1}}
    assert [row["signal"] for row in table(tmp_path / "out")] == [
        *("poses/train/a.pose", "poses/train/_.._escape-6.pose"),
    ]


def test_paths_stay_inside_the_folder_of_the_data_set(tmp_path: Path) -> None:
    data, secret = tmp_path / "data", tmp_path / "secret.pose"
    secret.write_bytes(pose_file())
    paths = ["poses/a.pose", "../secret.pose", str(secret), "poses/link.pose", "poses/no.pose"]
    save(data, [{"pose": path, "text": f"t{k}", "id": f"c{k}"} for k, path in enumerate(paths)])
    (data / "poses").mkdir()
    (data / "poses" / "a.pose").write_bytes(pose_file())
    os.symlink(secret, data / "poses" / "link.pose")
    result = prepare(data, tmp_path / "out")
    assert result.dropped == {"train": {"missing_file": 1, "outside_root": 3}}
    assert [row["id"] for row in table(tmp_path / "out")] == ["c0"]
    assert len(list((tmp_path / "out" / "poses").rglob("*.pose"))) == 1


def test_poses_that_are_arrays_get_the_header_of_a_file(tmp_path: Path) -> None:
    x_TPJC = signer(frames=3)
    confidence_TPJ = np.linspace(0.1, 1, x_TPJC[..., 0].size, dtype=np.float32)
    confidence_TPJ = confidence_TPJ.reshape(x_TPJC.shape[:3])
    holed_TPJC = x_TPJC.copy()
    holed_TPJC[1, 0, 5] = np.nan
    header = tmp_path / "any.pose"
    header.write_bytes(pose_file(signer(frames=1)))
    shapes = {
        "people": x_TPJC,
        "person": x_TPJC[:, 0],
        "flat": x_TPJC.reshape(3, -1),
        "with_confidence": np.concatenate([x_TPJC, confidence_TPJ[..., None]], -1),
        "holed": holed_TPJC,
        "other": x_TPJC[:, :, 1:],
        "empty_frames": x_TPJC[:0],
    }
    for name, array in shapes.items():
        rows = [{"pose": array.tolist(), "text": "t", "id": name, "fps": 12.5}]
        data, out = save(tmp_path / f"{name}_data", rows), tmp_path / name
        if name in ("other", "empty_frames"):
            with pytest.raises(InputError, match=r"wrong_shape|no_media"):
                prepare(data, out, pose_header=header)
            continue
        prepare(data, out, pose_header=header)
        pose = read_pose(out / table(out)[0]["signal"])
        assert pose.fps == 12.5
        expected = {"with_confidence": confidence_TPJ, "holed": np.isfinite(holed_TPJC[..., 0])}
        np.testing.assert_array_equal(pose.confidence_TPJ, expected.get(name, 1))
        points_TPJC = np.nan_to_num(holed_TPJC) if name == "holed" else x_TPJC
        np.testing.assert_array_equal(pose.points_TPJC, points_TPJC)
    rows = [{"pose": x_TPJC.tolist(), "conf": confidence_TPJ.tolist(), "text": "t"}]
    data = save(tmp_path / "own", rows)
    with pytest.raises(InputError, match="without a frame rate; pass `--fps`"):
        prepare(data, tmp_path / "no_rate", pose_header=header)
    with pytest.raises(InputError, match="`pose` are arrays; pass `--pose-header"):
        prepare(data, tmp_path / "no_header", fps=25)
    with pytest.raises(InputError, match=r"`--pose-header` must be a `\.pose` file"):
        prepare(data, tmp_path / "bad_header", fps=25, pose_header=data / "state.json")
    prepare(data, tmp_path / "out", pose_header=header, fps=25)
    written = read_pose(tmp_path / "out" / table(tmp_path / "out")[0]["signal"])
    np.testing.assert_array_equal(written.confidence_TPJ, confidence_TPJ)


def test_videos_and_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mp4 = b"\x00\x00\x00\x18ftypisom" + bytes(50)
    rows = [
        {"video": {"bytes": mp4, "path": "a.MP4"}, "text": "t"},
        {"video": {"bytes": mp4, "path": None}, "text": "t"},
        {"video": {"bytes": None, "path": "films/b.webm"}, "text": "t"},
        {"video": {"bytes": b"#!/bin/sh", "path": "c.sh"}, "text": "t"},
    ]
    film = tmp_path / "videos" / "films" / "b.webm"
    film.parent.mkdir(parents=True)
    film.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(50))
    # `save_to_disk` looks the file up in the current folder.
    monkeypatch.chdir(tmp_path / "videos")
    data = save(tmp_path / "videos", rows, video=datasets.Video())
    result = prepare(data, tmp_path / "out")
    assert result.dropped == {"train": {"not_a_video": 1}}
    assert result.source_kind == "video_tsv"
    assert [row["signal"] for row in table(tmp_path / "out")] == [
        *("videos/train/a.mp4", "videos/train/train_000001.mp4", "videos/train/b.webm"),
    ]
    buffer = io.BytesIO()
    np.save(buffer, np.ones((4, 3), np.float16))
    features = [
        {"features": buffer.getvalue(), "text": "t"},
        {"features": b"\x80\x04pickle", "text": "t"},
    ]
    prepare(save(tmp_path / "bytes", features), tmp_path / "vectors")
    (row,) = table(tmp_path / "vectors")
    assert np.load(tmp_path / "vectors" / row["signal"]).shape == (4, 3)
    lists = [{"features": [[1.0, 2.0]] * 3, "text": "t"}]
    prepare(save(tmp_path / "lists", lists), tmp_path / "arrays")
    (row,) = table(tmp_path / "arrays")
    assert np.load(tmp_path / "arrays" / row["signal"]).tolist() == [[1, 2]] * 3


def test_files_on_the_hub_are_those_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_address(address: str, mode: str) -> io.BytesIO:
        opened.append(address)
        if "missing" in address:
            raise FileNotFoundError(address)
        return io.BytesIO(pose_file())

    monkeypatch.setattr("datasets.utils.file_utils.xopen", open_address)
    files = HubFiles("owner/name", "c0ffee")
    own = "hf://datasets/owner/name@c0ffee/b.pose"
    writer = row_media.RowMediaWriter("poses", files, tmp_path, "train", None)
    for path in ("poses/a.pose", own, f"zip://c.pose::{own}"):
        assert (tmp_path / writer.write(path, "x", None, None)).read_bytes() == pose_file()
    assert opened == ["hf://datasets/owner/name@c0ffee/poses/a.pose", own, f"zip://c.pose::{own}"]
    for path in (
        *("/etc/passwd", "../other/a.pose", "poses/../../a.pose", "file:///etc/passwd"),
        *("https://example.org/a.pose", "hf://datasets/owner/names/a.pose"),
        *("hf://datasets/owner/name@main/../../other/b.pose", "zip://a::b.zip", "s3://bucket/a"),
        "hf://models/owner/name/a.pose",
    ):
        with pytest.raises(ClipError) as refused:
            writer.write(path, "x", None, None)
        assert refused.value.reason == "outside_root", path
    with pytest.raises(ClipError) as lost:
        writer.write({"path": "missing.pose", "bytes": None}, "x", None, None)
    assert lost.value.reason == "missing_file" and len(opened) == 4


def test_confidences_have_the_shape_of_the_points(tmp_path: Path) -> None:
    header, x_TJC = tmp_path / "any.pose", signer(frames=3)[:, 0].copy()
    header.write_bytes(pose_file(signer(frames=1)))
    confidence_TJ = np.ones(x_TJC.shape[:2], np.float32)
    for name, array in (("turned", confidence_TJ.T), ("short", confidence_TJ[:, :3])):
        rows = [{"pose": x_TJC.tolist(), "confidence": array.tolist(), "text": "t"}]
        with pytest.raises(InputError, match=r"1 wrong_shape; the first one: confidences of shape"):
            prepare(save(tmp_path / name, rows), tmp_path / "x", pose_header=header, fps=25)
        shutil.rmtree(tmp_path / "x")
    x_TJC[1, 5], confidence_TJ[2, 6] = np.nan, np.nan
    rows = [{"pose": x_TJC.tolist(), "confidence": confidence_TJ.tolist(), "text": "t"}]
    prepare(save(tmp_path / "data", rows), tmp_path / "out", pose_header=header, fps=25)
    pose = read_pose(tmp_path / "out" / table(tmp_path / "out")[0]["signal"])
    assert np.isfinite(pose.points_TPJC).all()
    assert np.argwhere(pose.confidence_TPJ != 1).tolist() == [[1, 0, 5], [2, 0, 6]]
