"""Whole tables as pandas, `csv` and spreadsheets leave them, read by the sources.

The forms are those of `DataFrame.to_csv` (pandas), of Python's `csv`, of RFC 4180, and of the
exports of LibreOffice Calc and Excel (empty trailing columns and rows, UTF-16, CR).
"""

from pathlib import Path

import pandas
import pytest

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.model import PretrainedTokenizerConfig
from kinesweep.config.recipe.source import FeatureManifestConfig, PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ConfigError, SourceError
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.precomputed.feature_manifest import FeatureManifestSource
from kinesweep.sources.prepare.delimited_table import read_delimited_rows
from kinesweep.sources.tsv.tsv_reader import read_table

HEADER = "signal\tsignal_start\tsignal_end\tencoder_prompt\tdecoder_prompt\toutput\n"


def source_of(folder: Path, content: str | bytes, **options: object) -> PoseTsvSource:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "train.tsv").write_bytes(data)
    config = {"train": str(folder / "train.tsv"), **options}
    return PoseTsvSource(PoseTsvConfig.model_validate(config))


def clips_of(folder: Path, content: str | bytes, **options: object) -> list[Clip]:
    return source_of(folder, content, **options).list_clips("train")


def errors_of(folder: Path, content: str | bytes) -> str:
    with pytest.raises(SourceError) as caught:
        clips_of(folder, content)
    return str(caught.value)


def test_quoted_texts_and_words_that_look_like_missing_values(tmp_path: Path) -> None:
    texts = ['"He said ""hello"" to me."', '"""Quoted whole."""', '"It\'s 5"" long"']
    words = ["NA", "None", "nan", "null", "N/A", "NaN", "True", "1.0"]
    rows = "".join(
        f"a.pose\t{40 * number}\t{40 * number + 2000}\t__asl__\t__en__\t{text}\n"
        for number, text in enumerate([*texts, *words])
    )
    assert [clip.texts[0] for clip in clips_of(tmp_path, HEADER + rows)] == [
        *('He said "hello" to me.', '"Quoted whole."', "It's 5\" long"),
        *words,
    ]


def test_a_text_with_a_tab_and_line_breaks(tmp_path: Path) -> None:
    content = 'signal\toutput\na.pose\t"one\ttwo\r\nthree"\nb.pose\tfour\n'
    first, second = clips_of(tmp_path, content)
    assert first.texts == ("one\ttwo\r\nthree",)
    assert (first.row, second.row) == ("train.tsv:2", "train.tsv:4")


@pytest.mark.parametrize("index", [False, True])
def test_what_pandas_writes(tmp_path: Path, index: bool) -> None:
    """With its row numbers too, and whole numbers beside a missing one as floats."""
    texts = ['"Yes"', 'a "b" c', "d\te", "f\ng", '"h', "NA"]
    frame = pandas.DataFrame(
        {
            "signal": [f"{number}.pose" for number in range(len(texts))],
            "signal_start": [0.5, 1000, None, 0, 1000, 1000],
            "signal_end": [1500, 2000, None, 4000, 3000, 3000],
            "output": texts,
            "order": [3, None, 1, 2, 5, 4],
        }
    )
    clips = clips_of(tmp_path, frame.to_csv(sep="\t", index=index).encode())
    assert [clip.texts[0] for clip in clips] == texts
    assert [clip.order for clip in clips] == [3, 0, 1, 2, 5, 4]
    assert (clips[0].span.start, clips[0].span.end, clips[2].span.is_full) == (0.5, 1500, True)


def test_a_first_column_without_a_name_that_is_no_index_is_an_error(tmp_path: Path) -> None:
    assert "has no name" in errors_of(tmp_path, "\tsignal\toutput\n1\ta.pose\tx\n0\tb.pose\ty\n")


SPREADSHEETS = {
    "empty columns at the end": b"signal\toutput\t\t\r\na.pose\tx\t\t\r\nb.pose\ty\t\t\r\n",
    "empty rows at the end": b"signal\toutput\r\na.pose\tx\r\nb.pose\ty\r\n\t\r\n \t \r\n",
    "empty fields after the last column": b"signal\toutput\na.pose\tx\t\t\nb.pose\ty\n",
    "CR alone": b"signal\toutput\ra.pose\tx\rb.pose\ty\r",
    "a mark and quoted names": b'\xef\xbb\xbf"signal"\t"output"\r\n"a.pose"\t"x"\r\n"b.pose"\t"y"',
    "blank lines first": b"\n\nsignal\toutput\na.pose\tx\nb.pose\ty\n",
}


@pytest.mark.parametrize("name", SPREADSHEETS)
def test_what_spreadsheets_write(tmp_path: Path, name: str) -> None:
    clips = clips_of(tmp_path, SPREADSHEETS[name])
    assert [(clip.media, clip.texts) for clip in clips] == [("a.pose", ("x",)), ("b.pose", ("y",))]


REFUSED = {
    "a decimal comma": (f"{HEADER}a.pose\t0,5\t1500\t\t\tx\n", "write `0.5`"),
    "thousands": (f"{HEADER}a.pose\t500\t1.500,0\t\t\tx\n", "write `1500.0`"),
    "thousands or decimals": (f"{HEADER}a.pose\t0\t1,500\t\t\tx\n", "`1500` if it separates"),
    "an order with a comma": ("signal\toutput\torder\na.pose\tx\t1,0\n", "write `1.0`"),
    "infinity": (f"{HEADER}a.pose\t0\tinf\t\t\tx\n", "`signal_end` must be 0 or more and finite"),
    "other digits": (f"{HEADER}a.pose\t0\t١٢\t\t\tx\n", "must be a number of ms"),
    "semicolons": ("signal;output\na.pose;x\n", "separated by semicolons"),
    "a row of commas": ("signal\toutput\na.pose\tx\nb.pose,y\n", "separated by commas"),
    "a mark that is not closed": (
        'signal\toutput\na.pose\t"x\nand more\n',
        "train.tsv:3  has 1 fields, not 2",
    ),
    "an open row": ('signal\toutput\na.pose "x\n"b.pose\n', "does not close it"),
    "content under no name": ("signal\toutput\t\na.pose\tx\ty\n", "has no name"),
    "content after the last column": ("signal\toutput\na.pose\tx\ty\n", "has 3 fields, not 2"),
    "UTF-16 without a mark": ("signal\toutput\na.pose\tx\n".encode("utf-16-le"), "is UTF-16"),
    "UTF-16 of the other order": ("signal\toutput\na.pose\tx\n".encode("utf-16-be"), "is UTF-16"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(tmp_path: Path, name: str) -> None:
    content, said = REFUSED[name]
    assert said in errors_of(tmp_path, content)


def test_annotations_are_read_by_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffname|text\r\n"x|y"|"He said ""no""."\r\nz|"a" or "b"\r\n'.encode())
    rows, errors = read_delimited_rows(path, "|", ("name", "text"))
    assert not errors and rows == [
        (2, {"name": "x|y", "text": 'He said "no".'}),
        (3, {"name": "z", "text": '"a" or "b"'}),
    ]
    path.write_text("name;text\nx;y\n")
    assert "separated by semicolons" in read_delimited_rows(path, "|", ("name",))[1][0][1]
    path.write_text("name|name\nx|y\n")
    assert "appears twice" in read_delimited_rows(path, "|", ("name",))[1][0][1]


def test_manifests_of_features_are_read_by_the_same_rules(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text('aaaaaa.mp4\t12.0\t"He said ""no""."\nb\t3\tx\n')
    config = FeatureManifestConfig(kind="feature_manifest", train=str(tmp_path / "train.tsv"))
    first, second = FeatureManifestSource(config).list_clips("train")
    assert (first.media, first.span.end) == ("0/aaaaa/aaaaaa.pt", 12)
    assert (first.texts, second.id) == (('He said "no".',), "b")


def test_a_manifest_whose_columns_have_another_order_has_a_header(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("label\tvideo_name\tlength\nx\ta\t3\n")
    config = FeatureManifestConfig(kind="feature_manifest", train=str(tmp_path / "train.tsv"))
    (clip,) = FeatureManifestSource(config).list_clips("train")
    assert (clip.id, clip.texts, clip.span.end) == ("a", ("x",), 3)


def test_vocabularies_are_read_by_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    path.write_bytes(b'\xef\xbb\xbf__asl__ 12\r\n"__dgs__"\t3\r\n\r\n  __bfi__\r\n')
    config = PretrainedTokenizerConfig(new_tokens=str(path))  # type: ignore[arg-type]
    assert config.new_tokens == ("__asl__", "__dgs__", "__bfi__")
    path.write_bytes("__asl__\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="is UTF-16, not UTF-8"):
        validate_config(PretrainedTokenizerConfig, {"new_tokens": str(path)}, "test")


def test_a_large_table_with_quotation_marks_is_read_once(tmp_path: Path) -> None:
    rows = "".join(f'{n}.pose\t{n}\t0\t\t\t"No. {n}, ""yes"".\n' for n in range(3000))
    (tmp_path / "train.tsv").write_text(HEADER + rows)
    table = read_table(tmp_path / "train.tsv", "train.tsv")
    assert (len(table.rows), table.errors) == (3000, ())
