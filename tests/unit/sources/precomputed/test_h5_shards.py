"""Shards of several streams: both ways to name files; every fault is named, all at once."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import H5ShardsConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, ConfigError, SourceError
from kinesweep.sources import build_source
from kinesweep.sources.base import MediaDigest
from kinesweep.sources.precomputed.clip_h5_file import read_streams
from kinesweep.sources.precomputed.h5_files import ShardFilePool
from shards import WIDTHS, annotation_of, h5_corpus, write_shard

DEV = "annotation.dev.json"
WHERE = f"{DEV}:dev_video1/clip_02"


def source_of(plain: dict[str, Any], **settings: Any) -> Any:
    return build_source(validate_config(H5ShardsConfig, {**plain, **settings}, "test"))


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Edits a JSON file in place; what the edit returns, if anything, takes its place."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(edit(content) or content))


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


def test_clips_may_stand_together_under_one_key(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)
    expected = source_of(plain).list_clips("train")

    def together(videos: Any) -> Any:
        return {
            video: {"clip_order": own["clip_order"], "clip": {c: own[c] for c in own["clip_order"]}}
            for video, own in videos.items()
        }

    change(tmp_path / "annotation.train.json", together)
    assert source_of(plain).list_clips("train") == expected


def test_a_clip_may_be_called_clip(tmp_path: Path) -> None:
    text = {"translation": "Hi."}
    (tmp_path / DEV).write_text(json.dumps({"v": {"clip_order": ["clip"], "clip": text}}))
    h5_corpus(tmp_path / "other", documents={"dev": 1})
    shutil.copytree(tmp_path / "other" / "pose", tmp_path / "pose")
    change(tmp_path / "pose" / "metadata_pose.dev.json", lambda _: {"v": "0"})
    plain = {"kind": "h5_shards", "validation": str(tmp_path / DEV)}
    (clip,) = source_of(plain, streams=[{"name": "pose", "fps": 25}]).list_clips("validation")
    assert (clip.id, clip.texts, clip.keywords) == ("v/clip", ("Hi.",), ())


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)

    def spoil(videos: Any) -> None:
        first, second = videos["dev_video0"], videos["dev_video1"]
        first["clip_order"].append("clip_00")
        del first["clip_01"]
        first["clip_77"] = {"translation": "Nobody asked."}
        second["clip_00"] = {"translation": 7, "paraphrases": "one"}
        second["clip_01"]["keyword"] = []
        second["clip_02"]["keywords"] = ["", "rain"]
        second["clip_03"]["translation"] = "half \ud83d"
        videos["a/b"] = {"clip_order": ["."], ".": {"translation": "x"}}
        videos["lost"] = {"clip_00": {"translation": "x"}}
        videos["flat"] = []

    change(tmp_path / DEV, spoil)
    change(tmp_path / "dino" / "metadata_dino.dev.json", lambda known: {**known, "x": "../../0"})
    (tmp_path / "sign2vec" / "metadata_sign2vec.train.json").unlink()
    (tmp_path / "annotation.train.json").write_text('{"v": {"clip_order": [], "clip_order": []}}')
    with pytest.raises(SourceError) as caught:
        source_of(plain).list_clips("train")
    lines = {tuple(line.split(maxsplit=1)) for line in str(caught.value).splitlines()[1:]}
    known = dict(lines)
    expected = {
        f"{DEV}:dev_video0/clip_00": "appears 2 times in `clip_order`",
        f"{DEV}:dev_video1/clip_00": "`paraphrases` must be a list of strings",
        f"{DEV}:dev_video1/clip_01": "did you mean `keywords`?",
        f"{DEV}:dev_video1/clip_02": "`keywords` contains an empty string",
        f"{DEV}:dev_video1/clip_03": "contains a lone surrogate",
        f"{DEV}:a/b": "cannot be the name of a video",
        f"{DEV}:a/b/.": "cannot be the name of a clip",
        f"{DEV}:lost": "has no `clip_order`",
        f"{DEV}:flat": "holds a list, but must hold an object",
        "dino/metadata_dino.dev.json:x": "must be a number or a plain word, but is '../../0'",
        "sign2vec/metadata_sign2vec.train.json": "nor does `metadata_dino.train.json` beside it",
        "annotation.train.json:v": "key `clip_order` appears more than once",
    }
    for where, text in expected.items():
        assert any(place == where and text in said for place, said in lines), (where, text)
    assert "`translation` must be a string, but is a number" in str(caught.value)
    assert "`clip_order` is empty" in str(caught.value)
    assert known.keys() == expected.keys()


def test_order_and_annotations_must_agree(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)

    def spoil(videos: Any) -> None:
        videos["dev_video1"]["clip_09"] = videos["dev_video1"].pop("clip_02")

    change(tmp_path / DEV, spoil)
    with pytest.raises(SourceError) as caught:
        source_of(plain).list_clips("train")
    assert f"{WHERE}  is listed in `clip_order` but has no annotation" in str(caught.value)
    text = f"{DEV}:dev_video1/clip_09  has an annotation but is not listed in `clip_order`"
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"v": ', rf"{DEV}:1 .*is not valid JSON at column 7"),
        (b'{"v":\n "\xe9"}', rf"{DEV}:2 .*0xe9\) is not UTF-8; if it is Latin-1: `iconv"),
        ('{"v": 1}'.encode("utf-16"), r"is UTF-16, not UTF-8"),
        (b"[]", "holds a list, but must hold an object"),
        (b"{}", "contains no videos"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"v": {"clip_order": ["c"], "c": null}}', f"{DEV}:v/c  holds null"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_annotation(tmp_path: Path, content: bytes | None, text: str) -> None:
    plain = h5_corpus(tmp_path)
    (tmp_path / DEV).unlink()
    if content is not None:
        (tmp_path / DEV).write_bytes(content)
    with pytest.raises(SourceError, match=text):
        source_of(plain).list_clips("train")


def test_a_byte_order_mark_and_other_keys_are_no_faults(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)
    expected = source_of(plain).list_clips("validation")

    def more(videos: Any) -> None:
        videos["dev_video0"]["signer"] = "A"
        videos["dev_video0"]["clip_00"]["start"] = 1.5

    change(tmp_path / DEV, more)
    (tmp_path / DEV).write_bytes(b"\xef\xbb\xbf" + (tmp_path / DEV).read_bytes())
    assert source_of(plain, ignore_keys=["signer", "start"]).list_clips("validation") == expected


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


def test_a_video_that_a_stream_lacks_is_counted(tmp_path: Path) -> None:
    plain = h5_corpus(tmp_path)
    change(tmp_path / "dino" / "metadata_dino.dev.json", lambda known: {"dev_video0": 0})
    source = source_of(plain)
    assert {clip.document for clip in source.list_clips("validation")} == {"dev_video0"}
    problems = source.list_invalid_rows()
    assert [problem.clip_id for problem in problems] == [f"dev_video1/clip_0{n}" for n in range(4)]
    assert {(problem.reason, problem.split) for problem in problems} == {
        ("missing_features", "validation")
    }
    assert "stream `dino`: not in `" in problems[0].message
    few = source_of(plain, streams=[plain["streams"][0]])
    assert few.list_invalid_rows() == [] and len(few.list_clips("validation")) == 7


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


def test_recipes_say_which_streams_are_taken(tmp_path: Path) -> None:
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain |= {"source": h5_corpus(tmp_path), "features": {"kind": "streams"}}
    recipe = validate_config(Recipe, plain, "test")
    assert recipe.selected_streams == ("pose", "dino", "sign2vec") and recipe.required_splits == (
        "validation",
    )
    plain["features"]["streams"] = "sign2vec+pose"
    chosen = validate_config(Recipe, plain, "test")
    assert chosen.selected_streams == ("sign2vec", "pose")
    assert chosen.effective_source.stream_names == ("sign2vec", "pose")  # type: ignore[union-attr]
    assert validate_config(Recipe, chosen.model_dump(mode="json"), "test") == chosen
    portable = chosen.to_portable()
    assert (
        str(tmp_path) not in portable.model_dump_json()
        and portable.selected_streams == chosen.selected_streams
    )
    bad: list[tuple[dict[str, Any], str]] = [
        ({"features": {"kind": "streams", "streams": ["mae"]}}, r"names mae, but .* pose, dino"),
        (
            {"features": {"kind": "streams", "streams": "pose+pose"}},
            "lists a stream twice: pose, pose",
        ),
        ({"features": {"kind": "precomputed"}}, "needs `features.kind: streams`"),
        ({"source": {**plain["source"], "train": "train.json"}}, r"annotation\.\{token\}\.json"),
        ({"source": {**plain["source"], "streams": []}}, r"streams"),
        (
            {"source": {**plain["source"], "streams": [{"name": "pose"}]}},
            r"streams\[0\]\.fps *miss",
        ),
    ]
    for part, text in bad:
        with pytest.raises(ConfigError, match=text):
            validate_config(Recipe, {**plain, **part}, "test")


def test_what_is_said_of_a_stream_counts_where_it_is_taken(tmp_path: Path) -> None:
    """One recipe serves a search over streams; a stream that the source has not stays an error."""
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain |= {"source": h5_corpus(tmp_path), "features": {"kind": "streams", "streams": "pose"}}
    caps = {"pose": 3, "dino": 4, "poes": 5}
    plain["batch"]["truncate_frames"] = caps
    plain["model"]["encoders"] = {name: {"kind": "linear", "gain": True} for name in caps}
    alone = validate_config(Recipe, plain, "test")
    assert alone.effective_batch.truncate_frames == {"pose": 3, "poes": 5}
    assert set(alone.effective_model.encoders) == {"pose", "poes"}
    both = alone.model_dump(mode="json") | {"features": {"kind": "streams"}}
    assert validate_config(Recipe, both, "test").effective_batch.truncate_frames == caps
    assert set(validate_config(Recipe, both, "test").effective_model.encoders) == set(caps)


def test_annotations_are_those_of_the_helper() -> None:
    (video,) = annotation_of({"v": [["rain", "house"]]}).values()
    assert video["clip_order"] == ["clip_00"] and video["clip_00"]["translation"] == "Rain house."
