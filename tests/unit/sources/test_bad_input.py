"""Every kind of bad corpus or file that we know of, and the words that a person gets to read."""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.errors import ClipError, SourceError
from kinesweep.core.units import Span
from kinesweep.sources import build_source
from kinesweep.sources.pose_format.pose_file import read_pose

Make = dict[str, Callable[..., Any]]
HEAD = "signal\tsignal_start\tsignal_end\toutput\n"


def nan_at(make: Make, confidence: float, value: float = np.nan) -> bytes:
    points, confidences = make["numbers"](4), np.ones((4, 1, 3), np.float32)
    points[2, 0, 1], confidences[2, 0, 1] = value, confidence
    return bytes(make["pose"](points, confidences))


FILES: dict[str, tuple[Callable[[Make], bytes], str, str]] = {
    # what the file holds, reason, words of the message
    "empty": (lambda make: b"", "empty_file", "is empty"),
    "text": (lambda make: b"signal\toutput\n" * 99, "not_a_pose_file", "version"),
    "video": (lambda make: b"\0\0\0\x18ftypmp42" + bytes(99), "not_a_pose_file", "version"),
    "version 0.3": (
        lambda make: make["pose"](header=make["header"](0.3)),
        "not_a_pose_file",
        "0.3",
    ),
    "all zeros": (lambda make: bytes(4096), "not_a_pose_file", "no points"),
    "noise after the version": (
        lambda make: make["header"]()[:10] + b"\xff" * 200_000,
        "not_a_pose_file",
        "names in its header",
    ),
    "another point format": (
        lambda make: make["pose"](header=make["header"](form="XY")),
        "not_a_pose_file",
        "`XY`",
    ),
    "ends in its header": (lambda make: make["pose"]()[:40], "truncated", "within its header"),
    "ends after its header": (lambda make: make["header"](), "truncated", "ends after its header"),
    "last byte missing": (lambda make: make["pose"]()[:-1], "truncated", "4 frames of 1 people"),
    "half of a v0.1 file": (
        lambda make: make["pose"](version=0.1)[:-40],
        "truncated",
        "4 frames of 1 people",
    ),
    "whole frames missing of a v0.1 file": (
        lambda make: make["pose"](version=0.1)[: -2 * 36],
        "truncated",
        "4 frames of 1 people",
    ),
    "half of a v0.0 file": (lambda make: make["pose"](version=0.0)[:-1], "truncated", "frames are"),
    "a v0.0 file without its last frame": (
        lambda make: make["pose"](version=0.0)[:-40],
        "truncated",
        "frames are",
    ),
    "two files in one": (
        lambda make: make["pose"]() + make["pose"](),
        "wrong_length",
        "4 frames of 1 people",
    ),
    "zero frames": (lambda make: make["pose"](make["numbers"](0)), "no_frames", "no frames"),
    "zero frames in v0.0": (
        lambda make: make["pose"](make["numbers"](0), version=0.0),
        "no_frames",
        "no frames",
    ),
    "zero people": (lambda make: make["pose"](make["numbers"](4, 0)), "no_people", "no people"),
    "zero people in v0.0": (
        lambda make: make["pose"](make["numbers"](4, 0), version=0.0),
        "no_people",
        "no people",
    ),
    "no frame rate": (lambda make: make["pose"](fps=0), "bad_fps", "0 frames a second"),
    "frame rate is not a number": (lambda make: make["pose"](fps=np.nan), "bad_fps", "nan"),
    "NaN where found": (lambda make: nan_at(make, 0.5), "nan_frames", "1 of 4 frames"),
    "infinity where found": (lambda make: nan_at(make, 1, np.inf), "nan_frames", "`HAND`"),
    "NaN confidence": (lambda make: nan_at(make, np.nan, 1), "nan_frames", "1 of 4 frames"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files(tmp_path: Path, make: Make, name: str) -> None:
    content, reason, words = FILES[name]
    path = tmp_path / "bad.pose"
    path.write_bytes(content(make))
    with pytest.raises(ClipError) as caught:
        read_pose(path)
    assert caught.value.reason == reason
    assert str(path) in str(caught.value) and words in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).reason == reason


READS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no such file": (lambda path: read_pose(path.with_name("no.pose")), "missing_file", "exist"),
    "a folder": (lambda path: read_pose(path.parent), "not_a_file", "not a file"),
    "below a file": (lambda path: read_pose(path / "x.pose"), "unreadable", "cannot be read"),
    "an impossible name": (lambda path: read_pose(Path("a\0.pose")), "unreadable", "null"),
    "person beyond": (lambda path: read_pose(path, person=1), "no_such_person", "holds 1 people"),
    "span beyond, ms": (
        lambda path: read_pose(path, Span.from_ms(160, 0)),
        "span_beyond_file",
        "4 frames at 25 fps",
    ),
    "span beyond, frames": (
        lambda path: read_pose(path, Span.from_frames(4, 9)),
        "span_beyond_file",
        "starts at frame 4",
    ),
    "span backwards": (
        lambda path: read_pose(path, Span.from_frames(3, 1)),
        "empty_span",
        "is empty",
    ),
}


@pytest.mark.parametrize("name", READS)
def test_bad_reads(write_pose: Callable[..., Path], name: str) -> None:
    read, reason, words = READS[name]
    with pytest.raises(ClipError, match=words) as caught:
        read(write_pose())
    assert caught.value.reason == reason


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pose")
    with pytest.raises(ClipError) as caught:
        read_pose(tmp_path / "pipe.pose")
    assert caught.value.reason == "not_a_file"


@dataclass(frozen=True)
class BadTable:
    """A training table, and what must stand in the error: one entry a problem, with its line."""

    content: str | bytes
    says: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    times: str = "ms"


TABLES = {
    "empty": BadTable("", ("train.tsv` is empty",)),
    "blank lines alone": BadTable("\n\r\n", ("is empty",)),
    "header only": BadTable(HEAD, ("a header but no rows",)),
    "Latin-1": BadTable(
        (HEAD + "a.pose\t0\t0\tja\nb.pose\t0\t0\tschön\n").encode("latin1"),
        ("train.tsv:3", "byte 15 (0xf6)", "iconv -f latin1 -t utf-8 train.tsv > train.utf8.tsv"),
    ),
    "Latin-1 in the header": BadTable(
        "signal\toutput\tgeschlö\n".encode("latin1"), ("train.tsv:1",)
    ),
    "UTF-16": BadTable(
        (HEAD + "a.pose\t0\t0\tja\n").encode("utf-16"), ("UTF-16", "iconv -f utf-16")
    ),
    "commas": BadTable("signal,output\na.pose,yes\n", ("separated by tabs",)),
    "unknown column, near": BadTable(
        "signal\toutput\tdecoder_promt\na.pose\tyes\t__en__\n",
        ("train.tsv:1", "`decoder_promt`", "did you mean `decoder_prompt`?", "ignore_columns"),
    ),
    "unknown column, far": BadTable(
        "signal\toutput\tzzz\na.pose\tyes\t1\n", ("`zzz` is unknown", "`source.ignore_columns`")
    ),
    "two names of one column": BadTable(
        "signal\toutput\toutput_text\na.pose\tyes\tyes\n", ("`output` and `output_text`",)
    ),
    "a column twice": BadTable("signal\toutput\toutput\na.pose\tx\ty\n", ("mean the same",)),
    "a nameless column": BadTable("signal\toutput\t\na.pose\tyes\t1\n", ("has no name",)),
    "no signal, no output": BadTable(
        "id\tsigner\n1\tanna\n", ("no column `signal`", "no column `output`")
    ),
    "the needed column ignored": BadTable(
        "signal\toutput\na.pose\tyes\n", ("no column `output`",), ignore=("output",)
    ),
    "too few fields": BadTable(HEAD + "a.pose\t0\tyes\n", ("train.tsv:2", "has 3 fields, not 4")),
    "too many fields": BadTable(
        HEAD + "a.pose\t0\t0\tyes\tor no\n", ("train.tsv:2", "has 5 fields, not 4")
    ),
    "start is not a number": BadTable(
        HEAD + "a.pose\tsoon\t0\tyes\n",
        ("train.tsv:2", "`signal_start` must be a number of ms", "`soon`"),
    ),
    "end is negative": BadTable(
        HEAD + "a.pose\t0\t-5\tyes\n", ("`signal_end` must be 0 or more, but is `-5`",)
    ),
    "start is NaN": BadTable(HEAD + "a.pose\tnan\t0\tyes\n", ("must be 0 or more",)),
    "half a frame": BadTable(
        HEAD + "a.pose\t0\t2.5\tyes\n", ("a whole number of frames",), times="frames"
    ),
    "order is not a number": BadTable(
        "signal\toutput\torder\na.pose\tyes\tfirst\n", ("`order` must be a whole number",)
    ),
    "no path": BadTable(HEAD + "\t0\t0\tyes\n", ("train.tsv:2", "`signal` is empty")),
    "a video": BadTable(
        HEAD + "v/a.mp4\t0\t0\tyes\n",
        ("train.tsv:2", "kinesweep estimate-poses VIDEOS --out POSES"),
    ),
    "a video as a cut clip": BadTable(
        "input_clip\toutput_text\na.mp4\tyes\n", ("`input_clip` names `a.mp4`", "estimated")
    ),
    "an id twice": BadTable(
        "id\tsignal\toutput\na\tx/a.pose\tyes\na\ty/a.pose\tno\n",
        ("train.tsv:3", "id `a` is already used by train.tsv:2"),
    ),
    "a clip twice": BadTable(
        HEAD + "x/a.pose\t0\t0\tyes\nx/a.pose\t0\t0\tno\n",
        ("train.tsv:3", "id `train/x/a` is already used by train.tsv:2"),
    ),
    "several things at once": BadTable(
        HEAD.encode() + b"a.mp4\tx\t-1\tyes\nb.pose\t0\n\xe4\t0\t0\tno\n",
        (
            "5 problems",
            "train.tsv:2  `signal` names `a.mp4`",
            "train.tsv:2  `signal_start`",
            "train.tsv:2  `signal_end`",
            "train.tsv:3  has 2 fields",
            "train.tsv:4  byte 1",
        ),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_bad_tables(tmp_path: Path, name: str) -> None:
    table = TABLES[name]
    content = table.content.encode() if isinstance(table.content, str) else table.content
    (tmp_path / "train.tsv").write_bytes(content)
    config = PoseTsvConfig.model_validate(
        {
            "train": str(tmp_path / "train.tsv"),
            "time_unit": table.times,
            "ignore_columns": table.ignore,
        }
    )
    with pytest.raises(SourceError) as caught:
        build_source(config).list_clips("train")
    assert [words for words in table.says if words not in str(caught.value)] == []


def test_faults_of_all_tables_come_together(tmp_path: Path) -> None:
    (tmp_path / "validation.tsv").write_text(HEAD + "a.pose\t0\n", encoding="utf-8")
    (tmp_path / "test.tsv").mkdir()
    paths = {split: str(tmp_path / f"{split}.tsv") for split in ("train", "validation", "test")}
    with pytest.raises(SourceError) as caught:
        build_source(PoseTsvConfig(**paths)).list_invalid_rows()
    text = str(caught.value)
    assert text.startswith("3 problems in the tables of the corpus")
    assert "does not exist" in text and "validation.tsv:2" in text and "is a folder" in text


def test_thousands_of_faults_stay_readable(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(HEAD + "a.mp4\t0\t0\tyes\n" * 3000, encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        build_source(PoseTsvConfig(train=str(tmp_path / "train.tsv"))).list_clips("train")
    lines = str(caught.value).splitlines()
    assert len(lines) == 42 and lines[0].startswith("3000 problems") and "2960 more" in lines[-1]
