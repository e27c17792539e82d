"""Annotations of shards: both ways to group clips; every fault is named, all at once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kinesweep.core.errors import SourceError
from shards import DEV, annotation_of, change, h5_corpus, source_of

WHERE = f"{DEV}:dev_video1/clip_02"


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


def test_annotations_are_those_of_the_helper() -> None:
    (video,) = annotation_of({"v": [["rain", "house"]]}).values()
    assert video["clip_order"] == ["clip_00"] and video["clip_00"]["translation"] == "Rain house."
