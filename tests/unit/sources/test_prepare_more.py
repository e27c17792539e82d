"""CSL-Daily, OpenASL and YouTube-ASL: published files become TSVs, what lacks is named."""

import json
from pathlib import Path

import pytest

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError, SourceError
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare import prepare_corpus
from kinesweep.sources.prepare.times import parse_milliseconds

CSL = "index|name|length|gloss|char|word|postag\n"
OPENASL = "vid\tyid\tstart\tend\traw-text\ttokenized-text\tgloss\tsplit\n"


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Annotations, poses, out."""
    return tmp_path / "a", tmp_path / "p", tmp_path / "out"


def write(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def clips(out: Path, poses: Path, split: str) -> list[Clip]:
    config = PoseTsvConfig.model_validate({split: str(out / f"{split}.tsv"), "root": str(poses)})
    return PoseTsvSource(config).list_clips(split)


def missing(out: Path) -> list[list[str]]:
    return [line.split("\t") for line in (out / "missing.tsv").read_text().splitlines()[1:]]


@pytest.mark.parametrize("inner", ["", "sentence_label/"])
def test_csl_daily(places: tuple[Path, Path, Path], inner: str) -> None:
    annotations, poses, out = places
    rows = [
        "0|S000000_P0000_T00|50|他 今天|他 今 天|他 今天|r t\n",
        "1|S000001_P0004_T01|60|我|我 。|我 。|r w\n",
        "2|S000002_P0004_T00|60|你|你|你|r\n",
    ]
    write(annotations / f"{inner}video_map.txt", CSL + "".join(rows))
    names = ["S000000_P0000_T00|train", "S000001_P0004_T01|dev", "S000009_P0000_T00|test"]
    write(annotations / f"{inner}split_1.txt", "name|split\n" + "\n".join(names) + "\n")
    write(poses / "S000000_P0000_T00.pose")
    write(poses / "dev/S000001_P0004_T01.pose")
    found = prepare_corpus("csl_daily", annotations, poses, out)
    assert found.clips == {"train": 1, "validation": 1}
    (clip,) = clips(out, poses, "train")
    assert (clip.texts, clip.gloss, clip.signer) == (("他今天",), "他 今天", "P0000")
    assert (clip.encoder_prompt, clip.decoder_prompt, clip.language) == ("__csl__", "__zh__", "zh")
    assert clips(out, poses, "validation")[0].texts == ("我。",)
    assert missing(out) == [
        ["train", "S000002_P0004_T00", "its row in split_1.txt"],
        ["test", "S000009_P0000_T00", "its row in video_map.txt"],
    ]


def test_csl_daily_needs_both_lists(places: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = places
    poses.mkdir()
    write(annotations / "video_map.txt", CSL)
    with pytest.raises(InputError, match=r"both `video_map.txt` and `split_1.txt`"):
        prepare_corpus("csl_daily", annotations, poses, out)


def test_openasl(places: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = places
    rows = [
        'v-0\tv\t00:00:01.500\t00:00:03.250\tHe said "hi".\the said hi\tHE\ttrain\n',
        "v-1\tv\t00:01:03.250\t00:01:04\tBye.\tbye\t\ttrain\n",
        "w-0\tw\t2.5\t4\tNo.\tno\t\tvalid\n",
        "x-0\tx\t0\t4\tGone.\tgone\t\ttest\n",
    ]
    write(annotations / "openasl-v1.0.tsv", OPENASL + "".join(rows))
    for name in ("v-0", "v", "w"):
        write(poses / f"{name}.pose")
    found = prepare_corpus("openasl", annotations, poses, out)
    assert (found.clips, found.missing) == ({"train": 2, "validation": 1}, {"test": 1})
    cut, inside = clips(out, poses, "train")
    assert (cut.media, cut.span.is_full, cut.texts) == ("v-0.pose", True, ('He said "hi".',))
    assert (inside.media, inside.span.start, inside.span.end) == ("v.pose", 63250, 64000)
    assert (inside.id, inside.document, inside.order) == ("v-1", "v", 1)
    (other,) = clips(out, poses, "validation")
    assert (other.span.start, other.span.end) == (2500, 4000)
    assert missing(out) == [["test", "x-0", "x-0.pose x.pose"]]


def test_openasl_names_its_bad_lines(places: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = places
    poses.mkdir()
    rows = ["a\tv\tsoon\t4\tText\ttext\t\ttrain\n", "b\tv\t1\t4\tText\ttext\t\tmaybe\n"]
    write(annotations / "openasl-v1.0.tsv", OPENASL + "".join(rows))
    with pytest.raises(SourceError) as caught:
        prepare_corpus("openasl", annotations, poses, out)
    assert "openasl-v1.0.tsv:2" in str(caught.value) and "`soon` is not a time" in str(caught.value)
    assert "openasl-v1.0.tsv:3" in str(caught.value) and "`maybe`" in str(caught.value)


VTT = """WEBVTT
Kind: captions
Language: en

00:00:01.000 --> 00:00:02.500
Hello <i>there</i>,
friend

00:00:02.500 --> 00:00:03.000


00:01:00.000 --> 00:01:02.000
Goodbye
"""


def test_youtube_asl(places: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = places
    write(annotations / "youtube_asl_video_ids.txt", "-abc_1\nxyz\nlost\nmute\n")
    write(annotations / "captions/-abc_1.en.vtt", VTT)
    write(annotations / "captions/-abc_1.de.vtt", VTT.replace("Goodbye", "Auf Wiedersehen"))
    said = [{"text": "One\ntwo", "start": 0.5, "duration": 1.25}]
    write(annotations / "captions/xyz.json", json.dumps(said))
    write(annotations / "captions/lost.json", json.dumps(said))
    write(annotations / "captions/-abc_1.info.json", '{"title": "not a caption"}')
    for name in ("-abc_1", "xyz", "mute"):
        write(poses / f"{name}.pose")
    found = prepare_corpus("youtube_asl", annotations, poses, out)
    assert (found.clips, found.missing) == ({"train": 3}, {"train": 2})
    first, second, third = clips(out, poses, "train")
    assert [clip.texts for clip in (first, second, third)] == [
        *(("Hello there, friend",), ("Goodbye",), ("One two",)),
    ]
    assert (first.media, first.span.start, first.span.end) == ("-abc_1.pose", 1000, 2500)
    assert (second.id, second.document, second.order) == ("-abc_1-0001", "-abc_1", 1)
    assert (third.span.start, third.span.end) == (500, 1750)
    assert missing(out) == [
        ["train", "lost-0000", "lost.pose"],
        ["train", "mute", "captions of this video"],
    ]


def test_a_list_of_ids_in_another_encoding(places: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = places
    poses.mkdir()
    write(annotations / "video_ids.txt", "")
    (annotations / "video_ids.txt").write_bytes("é\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"`video_ids\.txt` .*line 1: byte 1 .* is not UTF-8"):
        prepare_corpus("youtube_asl", annotations, poses, out)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", "[{}]"), ("a.json", "{"), ("a.json", "7"), ("a.vtt", "no captions\n")],
)
def test_captions_that_cannot_be_read(
    places: tuple[Path, Path, Path], name: str, content: str
) -> None:
    annotations, poses, out = places
    poses.mkdir()
    write(annotations / "video_ids.txt", "a\n")
    write(annotations / name, content)
    with pytest.raises(SourceError, match=rf"{name} .*cannot be read as captions"):
        prepare_corpus("youtube_asl", annotations, poses, out)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0", 0), ("62.345", 62345), ("1:02.345", 62345), ("00:01:02,345", 62345), ("1:0:0", 3.6e6)],
)
def test_times(text: str, wanted: float) -> None:
    assert parse_milliseconds(text) == wanted


@pytest.mark.parametrize("text", ["", "soon", "-1", "1:", "1:2:3:4", "nan"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_milliseconds(text)
