"""Every row of published tables is written or counted; ambiguous files are refused."""

from pathlib import Path

import pytest

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.errors import InputError, SourceError
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare import ANNOTATION_READERS, prepare_corpus
from kinesweep.sources.prepare.preparation_result import PreparationResult
from kinesweep.sources.prepare.times import parse_milliseconds, parse_seconds

HOW2SIGN = "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART\tEND\tSENTENCE"
OPENASL = "vid\tyid\tstart\tend\traw-text\tsplit"
PHOENIX = "name|speaker|orth|translation"
GENERIC = "signal\tsignal_start\tsignal_end\toutput"


class Place:
    """Folders of one corpus."""

    def __init__(self, root: Path) -> None:
        self.annotations, self.poses, self.out = (root / name for name in "apo")
        self.annotations.mkdir()
        self.poses.mkdir()

    def table(self, name: str, *lines: str) -> None:
        (self.annotations / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def pose(self, *names: str) -> None:
        for name in names:
            (self.poses / f"{name}.pose").touch()

    def prepare(self, corpus: str) -> PreparationResult:
        return prepare_corpus(corpus, self.annotations, self.poses, self.out, overwrite=True)

    def read(self, name: str = "train.tsv") -> list[list[str]]:
        lines = (self.out / name).read_text(encoding="utf-8").splitlines()[1:]
        return [line.split("\t") for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def how2sign(name: str, start: str, end: str, text: str = "Text") -> str:
    return f"v\tv-5-rgb_front\t{name}\t{name}-5-rgb_front\t{start}\t{end}\t{text}"


def test_spans_and_texts_of_how2sign(place: Place) -> None:
    place.pose("v-5-rgb_front", "v_9-5-rgb_front")
    rows = [
        how2sign("v_0", "0", "1.5"),
        how2sign("v_1", "0", "0"),
        how2sign("v_2", "3", "2"),
        how2sign("v_3", "3", "3.001"),
        how2sign("v_4", "3", "4", " "),
        how2sign("v_5", "3", "4", "nan"),
        how2sign("v_0", "0", "1.5"),
        how2sign("v_9", "3", "3"),  # already cut: its times do not matter
    ]
    place.table("how2sign_train.csv", HOW2SIGN, *rows)
    result = place.prepare("how2sign")
    assert result.clips == {"train": 3} and result.missing == {}
    assert result.dropped == {
        "train": {
            "duplicate": 1,
            "empty_text": 1,
            "end_before_start": 1,
            "too_short": 1,
            "zero_length": 1,
        }
    }
    assert [row[6] for row in place.read()] == ["Text", "nan", "Text"]
    assert sorted(place.read("dropped.tsv")) == [
        ["train", "how2sign_train.csv:3", "zero_length"],
        ["train", "how2sign_train.csv:4", "end_before_start"],
        ["train", "how2sign_train.csv:5", "too_short"],
        ["train", "how2sign_train.csv:6", "empty_text"],
        ["train", "how2sign_train.csv:8", "duplicate"],
    ]


@pytest.mark.parametrize("time", ["nan", "inf", "-1", "1,5", "", "1_0", "0x1", "1e99", "٣"])
def test_times_of_how2sign_that_are_no_numbers(place: Place, time: str) -> None:
    place.pose("v-5-rgb_front")
    place.table("how2sign_train.csv", HOW2SIGN, how2sign("v_0", time, "9"))
    with pytest.raises(SourceError, match=r"how2sign_train\.csv:2 .*time"):
        place.prepare("how2sign")


def test_one_name_for_two_sentences(place: Place) -> None:
    rows = how2sign("v_0", "0", "1", "One"), how2sign("v_0", "0", "1", "Two")
    place.table("how2sign_train.csv", HOW2SIGN, *rows)
    with pytest.raises(SourceError, match=r"train\.csv:3 .*already used by how2sign_train\.csv:2"):
        place.prepare("how2sign")


def test_spans_of_openasl(place: Place) -> None:
    place.pose("y")
    place.table(
        "openasl-v1.0.tsv",
        OPENASL,
        "a\ty\t00:00:01.500\t00:00:03\tText\ttrain",
        "b\ty\t0\t0\tText\ttrain",
        "c\ty\t00:00:09\t00:00:08,5\tText\ttrain",
        "d\ty\t1\t2\t\tvalid",
        "a\ty\t00:00:01.500\t00:00:03\tText\ttrain",
    )
    result = place.prepare("openasl")
    assert result.clips == {"train": 1}
    assert result.dropped == {
        "train": {"duplicate": 1, "end_before_start": 1, "zero_length": 1},
        "validation": {"empty_text": 1},
    }


def test_rows_of_phoenix(place: Place) -> None:
    place.pose("a-1", "a-2")
    place.table(
        "PHOENIX-2014-T.train.corpus.csv",
        PHOENIX,
        *("a-1|S|JA|ja .", "a-1|S|JA|ja .", "a-2|S|JA|", "a-3|S|JA|ja ."),
    )
    result = place.prepare("phoenix")
    assert (result.clips, result.missing) == ({"train": 1}, {"train": 1})
    assert result.dropped == {"train": {"duplicate": 1, "empty_text": 1}}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a|train", "b|valid"], r"split_1\.txt:3 .*train, dev, test, but is `valid`"),
        (["a|train", "a|test"], r"split_1\.txt:3 .*`a` is in the splits train and test"),
    ],
)
def test_splits_of_csl_daily(place: Place, lines: list[str], message: str) -> None:
    place.table("video_map.txt", "name|gloss|char", "a|x|x", "b|x|x")
    place.table("split_1.txt", "name|split", *lines)
    with pytest.raises(SourceError, match=message):
        place.prepare("csl_daily")


def test_sentences_of_csl_daily_that_repeat(place: Place) -> None:
    place.pose("a", "b")
    place.table("video_map.txt", "name|gloss|char", "a|x|x", "a|x|x", "b|y|y")
    place.table("split_1.txt", "name|split", "a|train", "b|train", "a|train")
    result = place.prepare("csl_daily")
    assert (result.clips, result.dropped) == ({"train": 2}, {"train": {"duplicate": 1}})


def test_rows_of_generic_tables(place: Place) -> None:
    place.pose("a", "b")
    place.table("train.tsv", GENERIC, "a.pose\t0\t0\tOne", "a.pose\t9\t8\tTwo", "b.pose\t0\t0\t")
    result = place.prepare("generic")
    assert result.clips == {"train": 1}
    assert result.dropped == {"train": {"empty_span": 1, "empty_text": 1}}


@pytest.mark.parametrize(
    "name",
    ["validation.tsv", "val.tsv", "dev.tsv", "valid.tsv", "phoenix.dev.tsv", "my_VAL-2.TSV"],
)
def test_names_of_validation(place: Place, name: str) -> None:
    place.pose("a", "b")
    place.table("train.tsv", GENERIC, "a.pose\t0\t0\tOne")
    place.table(name, GENERIC, "b.pose\t0\t0\tTwo")
    for other in ("vocab.tsv", "data.tsv", "developers.tsv", "latest.tsv", "constrain.tsv"):
        place.table(other, "word\tcount", "a\t1")
    assert place.prepare("generic").clips == {"train": 1, "validation": 1}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("dev.tsv", "val.tsv"), r"`dev\.tsv`, `val\.tsv`; keep only one"),
        (("train_dev.tsv",), r"`train_dev\.tsv` names several splits"),
    ],
)
def test_ambiguous_names_are_refused(place: Place, names: tuple[str, ...], message: str) -> None:
    for name in names:
        place.table(name, GENERIC, "a.pose\t0\t0\tOne")
    with pytest.raises(InputError, match=message):
        place.prepare("generic")


def test_tables_of_which_nothing_is_left(place: Place) -> None:
    place.pose("v-5-rgb_front")
    place.table("how2sign_train.csv", HOW2SIGN, how2sign("v_1", "0", "0"))
    with pytest.raises(InputError, match="all were dropped: 1 zero_length"):
        place.prepare("how2sign")


@pytest.mark.parametrize("corpus", ANNOTATION_READERS)
def test_a_folder_of_other_files_names_those_that_are_expected(place: Place, corpus: str) -> None:
    place.table("AAAAAAAAAA1.en.vtt", "WEBVTT")
    with pytest.raises(InputError, match=rf"no annotations of {corpus}; expected .*`\w.*\.\w+`"):
        place.prepare(corpus)


@pytest.mark.parametrize("name", ["how2sign_train.csv", "How2Sign-TRAIN.csv"])
def test_a_byte_order_mark_and_crlf(place: Place, name: str) -> None:
    place.pose("v-5-rgb_front")
    lines = [f"\ufeff{HOW2SIGN}", how2sign("v_0", "1", "2", '"Say ""hi""."')]
    (place.annotations / name).write_text("\r\n".join(lines), encoding="utf-8", newline="")
    assert place.prepare("how2sign").clips == {"train": 1}
    config = PoseTsvConfig(train=str(place.out / "train.tsv"), root=str(place.poses))
    assert PoseTsvSource(config).list_clips("train")[0].texts == ('Say "hi".',)


def test_result_lines(place: Place) -> None:
    place.pose("v-5-rgb_front")
    rows = how2sign("v_0", "0", "1"), how2sign("v_1", "0", "0"), how2sign("v_2", "1", "2", "")
    place.table("how2sign_train.csv", HOW2SIGN, *rows)
    lines = list(place.prepare("how2sign").format_lines(place.poses))
    assert lines[1:] == ["train: dropped 2 rows: 1 empty_text, 1 zero_length"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1:02:03,4", 3_723_400),
        ("100:00:00.5", 360_000_500),
        ("75:30", 4_530_000),
        ("62.026", 62_026),
        ("00:00:59.999", 59_999),
    ],
)
def test_times(text: str, wanted: float) -> None:
    assert parse_milliseconds(text) == wanted


@pytest.mark.parametrize("text", ["0:61", "1:60:00", "1:2:60.5", "-0:01", "9" * 30, "١:٢", "1:2,"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_milliseconds(text)


@pytest.mark.parametrize(("text", "wanted"), [("1.5", 1500), (" 2 ", 2000), ("1e-05", 0.01)])
def test_seconds(text: str, wanted: float) -> None:
    assert parse_seconds(text) == wanted


def test_a_decimal_comma_is_named() -> None:
    with pytest.raises(ValueError, match=r"decimal comma; write `1\.5`"):
        parse_seconds("1,5")
