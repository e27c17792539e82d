"""Shards of several streams: values and widths, damaged files, open files."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.source import H5ShardsConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.sources.base import MediaDigest
from kinesweep.sources.precomputed.clip_h5_file import read_streams
from kinesweep.sources.precomputed.h5_files import ShardFilePool
from shards import DEV, WIDTHS, change, h5_corpus, source_of, write_shard

WHERE = f"{DEV}:dev_video1/clip_02"


def rewrite(path: Path, name: str, values: Any) -> None:
    """Puts other values into a data set of a shard."""
    with h5py.File(path, "a") as file:
        del file[name]
        file[name] = values


@pytest.mark.parametrize("prefix", [None, "dino"])
def test_clips_and_streams_come_back(tmp_path: Path, prefix: str | None) -> None:
    source = source_of(h5_corpus(tmp_path, prefix=prefix))
    clips = source.list_clips("validation")
    assert [clip.id for clip in clips[:4]] == [
        *(f"dev_video0/clip_0{n}" for n in range(3)),
        "dev_video1/clip_00",
    ]
    said = json.loads((tmp_path / DEV).read_text())["dev_video1"]["clip_02"]
    name = prefix or "pose"
    assert clips[5] == Clip(
        id="dev_video1/clip_02",
        split="validation",
        media=f"pose/{name}.dev.1.h5",
        texts=(said["translation"], *said["paraphrases"]),
        document="dev_video1",
        order=2,
        row=WHERE,
        keywords=tuple(said["keywords"]),
    )
    found = source.read(clips[5])
    assert list(found) == list(WIDTHS)
    for stream, given in found.items():
        with h5py.File(tmp_path / stream / f"{prefix or stream}.dev.1.h5", locking=False) as file:
            expected = file["dev_video1/clip_02"][()]
        assert (given.x_TD.dtype, expected.dtype) == (np.float32, np.float16)
        np.testing.assert_array_equal(given.x_TD, expected)
        assert given.x_TD.shape[1] == WIDTHS[stream]
    assert len(found["pose"].x_TD) == 2 * len(found["sign2vec"].x_TD)
    rates_hz = {"pose": 25.0, "dino": 25.0, "sign2vec": 12.5}
    assert {name: given.rate_hz for name, given in found.items()} == rates_hz
    assert source.get_read_options() == {"source": "h5_shards", "rates_hz": rates_hz}
    assert source.check_clips() == []


def set_to(values: Any) -> Callable[[Path], None]:
    return lambda path: rewrite(path, "dev_video1/clip_02", values)


def without_clip(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["dev_video1/clip_02"]


def never_written(path: Path) -> None:
    without_clip(path)
    with h5py.File(path, "a") as file:
        file["dev_video1"].create_dataset("clip_02", (8, 12), np.float16)


def half_written(path: Path) -> None:
    without_clip(path)
    with h5py.File(path, "a") as file:
        data = file["dev_video1"].create_dataset("clip_02", (8, 12), np.float16, chunks=(4, 12))
        data[:4] = 1


def linked(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["secret"] = np.ones((8, 12), np.float16)
    rewrite(path, "dev_video1/clip_02", h5py.ExternalLink("other.h5", "/secret"))


def virtual(path: Path) -> None:
    linked(path)
    layout = h5py.VirtualLayout((8, 12), np.float16)
    layout[:] = h5py.VirtualSource(path.with_name("other.h5"), "secret", (8, 12))
    with h5py.File(path, "a") as file:
        del file["dev_video1/clip_02"]
        file.create_virtual_dataset("dev_video1/clip_02", layout)


@pytest.mark.parametrize(
    ("spoil", "reason", "text"),
    [
        (without_clip, "missing_features", "no data set `clip_02`"),
        (never_written, "incomplete", "never written"),
        (half_written, "incomplete", "never written"),
        (linked, "unreadable", "link to another place"),
        (virtual, "unreadable", "is stored in another file"),
        (set_to(np.ones((0, 12), np.float16)), "wrong_shape", r"the shape \(0, 12\)"),
        (set_to(np.ones(12, np.float16)), "wrong_shape", r"the shape \(12,\)"),
        (set_to(np.ones((8, 12), np.int16)), "wrong_dtype", "holds int16"),
        (set_to(np.full((8, 12), np.nan)), "nan_features", "stream `dino`: NaN or infinite"),
        (set_to(np.ones((8, 11), np.float16)), "wrong_width", "`dino` is 11 wide, but 12 in most"),
    ],
)
def test_features_that_cannot_be_used_are_named(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str, text: str
) -> None:
    source = source_of(h5_corpus(tmp_path))
    spoil(tmp_path / "dino" / "dino.dev.1.h5")
    (problem,) = source.check_clips()
    assert (problem.reason, problem.clip_id, problem.split) == (
        reason,
        "dev_video1/clip_02",
        "validation",
    )
    assert problem.message.startswith(WHERE) and "`dino`" in problem.message
    clips = source.list_clips("validation")
    assert isinstance(source.compute_digests(clips)[clips[5]], ClipError)
    if reason not in ("wrong_width", "nan_features"):  # which the store refuses
        with pytest.raises(ClipError, match=text) as caught:
            source.read(clips[5])
        assert caught.value.reason == reason
        assert "dino.dev.1.h5" in str(caught.value) and "dev_video1/clip_02" in str(caught.value)
    else:
        assert text in problem.message


def test_a_width_that_the_recipe_names_is_held(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)
    plain["streams"][1]["width"] = 13
    problems = source_of(plain).check_clips()
    assert len(problems) == 17 and {problem.reason for problem in problems} == {"wrong_width"}
    assert "`dino`: features are 12 wide, but the recipe says 13" in problems[0].message
    assert [problem.row for problem in problems] == sorted(
        (problem.row for problem in problems), key=lambda row: "dev" in row
    )


@pytest.mark.parametrize("damage", ["cut", "none", "words", "scrambled"])
def test_a_damaged_shard_is_an_error_of_its_clips_alone(tmp_path: Path, damage: str) -> None:
    source = source_of(h5_corpus(tmp_path))
    path = tmp_path / "sign2vec" / "sign2vec.train.1.h5"
    content = path.read_bytes()
    if damage == "none":
        path.unlink()
    elif damage == "scrambled":
        path.write_bytes(content[:600] + bytes(len(content) - 700) + content[-100:])
    else:
        path.write_bytes(content[:-300] if damage == "cut" else b"no features at all")
    problems = source.check_clips()
    own = [clip.id for clip in source.list_clips("train") if clip.document == "train_video1"]
    assert [problem.clip_id for problem in problems] == own
    reasons = {problem.reason for problem in problems}
    assert reasons <= {"missing_file" if damage == "none" else "unreadable", "missing_features"}
    assert all("sign2vec.train.1.h5" in problem.message for problem in problems)


def test_content_is_a_clip_s_own(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)
    source = source_of(plain)
    clips = source.list_clips("validation")
    before = source.compute_digests(clips)
    path = tmp_path / "dino" / "dino.dev.1.h5"
    rewrite(path, "dev_video1/clip_02", np.ones((8, 12), np.float16))
    after = source.compute_digests(clips)
    assert [clip.id for clip in clips if before[clip] != after[clip]] == ["dev_video1/clip_02"]
    content = after[clips[5]]
    assert isinstance(content, MediaDigest)
    streams = source.read(clips[5]).values()
    assert content.num_bytes == sum(given.x_TD.size * 2 for given in streams)
    again = source_of(h5_corpus(tmp_path / "again", prefix="dino", shards=1))
    same = again.compute_digests(again.list_clips("validation"))
    assert list(before.values()) == list(same.values())


def test_the_first_clips_alone_are_read(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)

    def silence(videos: Any) -> None:
        videos["train_video0"]["clip_01"]["translation"] = " "
        videos["train_video2"]["clip_01"]["translation"] = " "

    change(tmp_path / "annotation.train.json", silence)
    source = source_of(plain, max_clips=3)
    assert [clip.id for clip in source.list_clips("train")] == [
        "train_video0/clip_00",
        "train_video0/clip_02",
        "train_video1/clip_00",
    ]
    assert [problem.clip_id for problem in source.list_invalid_rows()] == ["train_video0/clip_01"]


def test_open_files_are_few_and_belong_to_their_process(tmp_path: Path) -> None:
    h5_corpus(tmp_path, {"pose": 3}, {"train": 5}, shards=5)
    files = ShardFilePool(max_open=2)

    def opened() -> list[str]:
        paths = [Path(file.path) for file in psutil.Process().open_files()]
        return sorted(path.name for path in paths if path.is_relative_to(tmp_path))

    for number in range(5):
        path = tmp_path / "pose" / f"pose.train.{number}.h5"
        assert files.read(path, f"train_video{number}", "clip_00").shape[1] == 3
    assert opened() == ["pose.train.3.h5", "pose.train.4.h5"]
    again = pickle.loads(pickle.dumps(files))
    files.close()
    assert opened() == []
    assert again.read(path, "train_video4", "clip_01").shape[1] == 3
    again.close()


def test_a_forked_process_opens_files_of_its_own(tmp_path: Path) -> None:
    source = source_of(h5_corpus(tmp_path))
    clip = source.list_clips("train")[0]
    expected = source.read(clip)["pose"].x_TD
    child = os.fork()
    if child == 0:
        alike = np.array_equal(source.read(clip)["pose"].x_TD, expected)
        os._exit(0 if alike else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(source.read(clip)["pose"].x_TD, expected)


def test_a_shard_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    source = source_of(h5_corpus(tmp_path))
    clip = source.list_clips("train")[0]
    source.read(clip)
    path = source.resolve_media_path(clip)
    path.unlink()
    write_shard(path, clip.document, {"clip_00": np.full((2, 8), 7, np.float16)})
    np.testing.assert_array_equal(source.read(clip)["pose"].x_TD, np.full((2, 8), 7))


def test_a_file_of_one_clip(tmp_path: Path) -> None:
    config = validate_config(H5ShardsConfig, h5_corpus(tmp_path), "test").select_streams(
        ("dino", "pose")
    )
    file = tmp_path / "clip.h5"
    with h5py.File(file, "w") as shard:
        shard["pose"], shard["dino"] = np.ones((3, 8)), np.ones((2, 12), np.float16)
    found = read_streams(file, config)
    assert {name: given.x_TD.shape for name, given in found.items()} == {
        "dino": (2, 12),
        "pose": (3, 8),
    }
    with pytest.raises(ClipError, match=r"no data set `dino`.*train\.0\.h5"):
        read_streams(tmp_path / "pose" / "pose.train.0.h5", config)
