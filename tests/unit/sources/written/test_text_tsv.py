"""Tables of texts and of SignWriting: the signal is the input itself."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.errors import ClipError, SourceError
from kinesweep.sources import build_source
from kinesweep.sources.base import SourceText
from kinesweep.sources.splitting.cross_validation import write_folds
from written import SIGNS

HEADER = "signal\tsignal_start\tsignal_end\tencoder_prompt\toutput"


def source_of(folder: Path, *lines: str, kind: str = "text_tsv", header: str = HEADER) -> Any:
    (folder / "train.tsv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    config = TextTsvConfig if kind == "text_tsv" else SignWritingTsvConfig
    plain = {"kind": kind, "train": str(folder / "train.tsv")}
    return build_source(validate_config(config, plain, "test"))


def test_a_row_is_a_clip_whose_media_is_its_text(tmp_path: Path) -> None:
    source = source_of(tmp_path, "a/b.mp4?\t0\t0\t__de__\tText.", "a/b.mp4?\t\t\t\tOther.")
    first, second = source.list_clips("train")
    assert (first.id, second.id) == ("train-2", "train-3")
    assert (first.media, first.encoder_prompt, first.texts) == ("a/b.mp4?", "__de__", ("Text.",))
    assert source.read(first) == SourceText("a/b.mp4?")
    digests = source.compute_digests([first, second])
    assert digests[first].sha256 == hashlib.sha256(b"a/b.mp4?").hexdigest()
    assert digests[first] == digests[second]
    with pytest.raises(ClipError, match="not a file"):
        source.resolve_media_path(first)


def test_ids_of_a_column_are_kept_and_must_differ(tmp_path: Path) -> None:
    header = "id\tsignal\toutput"
    source = source_of(tmp_path, "x\tA\tB.", "\tA\tB.", header=header)
    assert [clip.id for clip in source.list_clips("train")] == ["x", "train-3"]
    with pytest.raises(SourceError, match="already used"):
        source_of(tmp_path, "x\tA\tB.", "x\tA\tB.", header=header).list_clips("train")


def test_empty_inputs_and_texts_are_counted_rows(tmp_path: Path) -> None:
    source = source_of(tmp_path, "\t0\t0\t\tText.", "A\t0\t0\t\t", "A\t0\t0\t\tText.")
    assert [row.reason for row in source.list_invalid_rows()] == ["empty_input", "empty_text"]
    assert len(source.list_clips("train")) == 1


def test_a_text_has_no_times(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"train\.tsv:2.*texts have no times"):
        source_of(tmp_path, "A\t0\t400\t\tText.").list_clips("train")


def test_what_is_no_signwriting_is_a_counted_row(tmp_path: Path) -> None:
    rows = (f"{SIGNS[0]}\t0\t0\t\tText.", "hello\t0\t0\t\tText.")
    source = source_of(tmp_path, *rows, kind="signwriting_tsv")
    (row,) = source.check_clips()
    assert (row.reason, row.row) == ("invalid_fsw", "train.tsv:3")
    assert source.read(source.list_clips("train")[0]) == SourceText(SIGNS[0], is_signwriting=True)


def test_texts_are_split_into_folds(tmp_path: Path) -> None:
    header = "id\tsignal\tdocument\toutput"
    rows = [f"x{number}\tText {number}\td{number}\tOut." for number in range(4)]
    source_of(tmp_path, *rows, header=header)
    config = TextTsvConfig(kind="text_tsv", train=str(tmp_path / "train.tsv"))
    paths = write_folds(config, "document", 2, 0, tmp_path / "folds")
    lines = [line for path in paths for line in path.read_text().splitlines()[1:]]
    assert sorted({line.split("\t")[1] for line in lines}) == [f"Text {n}" for n in range(4)]


def test_a_clip_may_have_several_references(tmp_path: Path) -> None:
    header = "id\tsignal\tdocument\toutput_3\toutput\toutput_2"
    rows = ["x\tA\td\tThird.\tFirst.\tSecond.", "y\tB\te\tThird.\tFirst.\t", "z\tC\tf\t\tOne.\t"]
    source = source_of(tmp_path, *rows, header=header)
    expected = [("First.", "Second.", "Third."), ("First.", "Third."), ("One.",)]
    assert [clip.texts for clip in source.list_clips("train")] == expected
    config = TextTsvConfig(kind="text_tsv", train=str(tmp_path / "train.tsv"))
    paths = write_folds(config, "document", 3, 0, tmp_path / "folds")
    kept = []
    for path in paths:
        again = TextTsvConfig(kind="text_tsv", validation=str(path))
        kept += [clip.texts for clip in build_source(again).list_clips("validation")]
    assert sorted(set(kept)) == sorted(expected)


@pytest.mark.parametrize("column", ["output_1", "output_02", "output_x"])
def test_other_columns_of_references_are_unknown(tmp_path: Path, column: str) -> None:
    with pytest.raises(SourceError, match=f"column `{column}` is unknown"):
        source_of(tmp_path, "A\tB.\tC.", header=f"signal\toutput\t{column}").list_clips("train")
