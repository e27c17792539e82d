"""Times in the wrong unit and spans that say nothing are found, and legal corpora raise no alarm.

Legal are spans as MultimodalHugs defines them (0 or empty: start or end of the file), as How2Sign
and YouTube-ASL publish them once converted to milliseconds, and short signs in long videos.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.errors import ClipError, SourceError
from kinesweep.core.units import Span
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.splitting.cross_validation import write_folds

Write = Callable[..., Path]
HEADER = "signal\tsignal_start\tsignal_end\toutput\n"


def source_of(folder: Path, spans: list[tuple[str, str, str]], **options: object) -> PoseTsvSource:
    rows = [f"{media}\t{start}\t{end}\tText {n}.\n" for n, (media, start, end) in enumerate(spans)]
    (folder / "train.tsv").write_text(HEADER + "".join(rows))
    config = {"train": str(folder / "train.tsv"), **options}
    return PoseTsvSource(PoseTsvConfig.model_validate(config))


SECONDS = {
    "as in speech": [("a.pose", "0.5", "1.5"), ("a.pose", "2.0", "3.5")],
    "whole seconds": [("a.pose", "0", "3"), ("a.pose", "3", "9"), ("b.pose", "1", "12")],
    "late in a long video": [("a.pose", "3599.2", "3601.7"), ("a.pose", "3602", "3604.25")],
    "mostly sentences": [
        *[("a.pose", f"{n}", f"{n + 4}") for n in range(20)],
        ("a.pose", "0", "90"),
    ],
    "paragraphs with fractions": [("a.pose", "0.00", "61.48"), ("a.pose", "61.48", "190.02")],
    "an end alone": [("a.pose", "", "3.2"), ("b.pose", "", "4.1")],
}


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_are_an_error_that_names_the_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"set `source.time_unit: s`") as caught:
        source_of(tmp_path, SECONDS[name]).list_clips("train")
    assert "train.tsv:2 (" in str(caught.value)


def test_fractions_alone_are_not_called_too_short(tmp_path: Path) -> None:
    """No span is shorter than a frame, so the message must not say so."""
    spans = [("a.pose", "100.5", "300.25"), ("a.pose", "1000.5", "1200")]
    with pytest.raises(SourceError, match=r"no span is longer than 300 ms, .* whole milliseconds"):
        source_of(tmp_path, spans).list_clips("train")
    rounded = [("a.pose", "100", "300"), ("a.pose", "1000", "1200")]
    assert len(source_of(tmp_path, rounded).list_clips("train")) == 2


LEGAL = {
    "sentences": [("a.pose", "500", "1500"), ("a.pose", "2000", "3500")],
    "short signs in a long video": [("a.pose", "400", "900"), ("a.pose", "3600400", "3600780")],
    "fractions": [("a.pose", "33.333", "933.333"), ("b.pose", "66.667", "1000")],
    "one short span among many": [("a.pose", "0", "20"), ("a.pose", "100", "900")],
    "whole files": [("a.pose", "0", "0"), ("b.pose", "", ""), ("c.pose", "0.0", "0")],
    "starts alone": [("a.pose", "3", "0"), ("b.pose", "5", "")],
}


@pytest.mark.parametrize("name", LEGAL)
def test_legal_spans_raise_no_alarm(tmp_path: Path, name: str) -> None:
    source = source_of(tmp_path, LEGAL[name])
    assert len(source.list_clips("train")) == len(LEGAL[name])
    assert source.list_invalid_rows() == []


def test_seconds_are_read_as_milliseconds(tmp_path: Path) -> None:
    spans = [("a.pose", "0.5", "2.3"), ("a.pose", "2.3", "0"), ("b.pose", "1e1", "4000")]
    clips = source_of(tmp_path, spans, time_unit="s").list_clips("train")
    assert [clip.span for clip in clips] == [
        *(Span(500, 2300, "ms"), Span(2300, None, "ms"), Span(10_000, 4_000_000, "ms")),
    ]
    assert clips[0].id == "a@500-2300"


@pytest.mark.parametrize(
    ("unit", "time", "wanted"),
    [("ms", "00:01:02.500", "62500"), ("s", "1:02:03,4", "3723.4"), ("ms", "75:30", "4530000")],
)
def test_clock_times_are_refused_with_the_number(
    tmp_path: Path, unit: str, time: str, wanted: str
) -> None:
    """As OpenASL and captions write them."""
    with pytest.raises(SourceError, match=rf"`signal_start` .* is `{time}`; write `{wanted}`"):
        source_of(tmp_path, [("a.pose", time, "")], time_unit=unit).list_clips("train")


def test_spans_that_may_be_frames_name_both_units(tmp_path: Path) -> None:
    source = source_of(tmp_path, [("a.pose", "0", "24"), ("a.pose", "24", "61")])
    with pytest.raises(SourceError, match=r"time_unit: s`.* numbers of frames, .*unit: frames`"):
        source.list_clips("train")


def test_frames_are_never_taken_for_seconds(tmp_path: Path) -> None:
    spans = [("a.pose", "0", "3"), ("a.pose", "3", "9")]
    assert len(source_of(tmp_path, spans, time_unit="frames").list_clips("train")) == 2


def test_long_spans_in_seconds_are_found_by_the_duration_of_their_files(
    tmp_path: Path, write_pose: Write, make: dict[str, Callable[..., object]]
) -> None:
    """No frame is shorter than 100 ms, but the files last as many seconds as the spans end at."""
    write_pose("long.pose", points_TPJC=make["numbers"](200), fps=1)
    spans = [("long.pose", "0", "100"), ("long.pose", "100", "200")]
    with pytest.raises(SourceError, match=r"first moment .* set `source.time_unit: s`"):
        source_of(tmp_path, spans).list_clips("train")
    write_pose("short.pose", points_TPJC=make["numbers"](10), fps=25)
    clips = [("short.pose", "0", "100"), ("short.pose", "100", "300")]
    assert len(source_of(tmp_path, clips).list_clips("train")) == 2


def test_a_row_without_times_is_no_whole_video_where_others_are_cut(tmp_path: Path) -> None:
    spans = [
        *(("a.pose", "0", "900"), ("a.pose", "0", "0"), ("a.pose", "", "")),
        *(("b.pose", "0", "0"), ("c/a.pose", "0", "0"), ("a.pose", "900", "0")),
    ]
    source = source_of(tmp_path, spans)
    assert [clip.row for clip in source.list_clips("train")] == [
        f"train.tsv:{line}" for line in (2, 5, 6, 7)
    ]
    dropped = source.list_invalid_rows()
    assert [(row.row, row.reason, row.split) for row in dropped] == [
        *(("train.tsv:3", "empty_span", "train"), ("train.tsv:4", "empty_span", "train")),
    ]
    assert "train.tsv:2 and other rows cut `a.pose`" in dropped[0].message


def test_a_single_span_shorter_than_a_frame_is_dropped(tmp_path: Path, write_pose: Write) -> None:
    write_pose("b.pose")
    source = source_of(tmp_path, [("a.pose", "0", "400"), ("b.pose", "0.1", "0.15")])
    clip = source.list_clips("train")[1]
    with pytest.raises(
        ClipError, match=r"less than one frame \(40.0 ms .* `source.time_unit: s`"
    ) as e:
        source.read(clip)
    assert e.value.reason == "empty_span"


def test_folds_keep_the_unit_of_the_corpus(tmp_path: Path) -> None:
    rows = [f"a.pose\t{n}.25\t{n + 1}.5\tText {n}.\ts{n}\n" for n in range(4)]
    (tmp_path / "train.tsv").write_text(HEADER.strip() + "\tsigner\n" + "".join(rows))
    config = PoseTsvConfig.model_validate({"train": str(tmp_path / "train.tsv"), "time_unit": "s"})
    write_folds(config, "signer", 2, 1, tmp_path / "folds")
    names = [str(tmp_path / f"folds/fold-0/{split}.tsv") for split in ("train", "validation")]
    folds = PoseTsvConfig.model_validate(
        {"train": names[0], "validation": names[1], "time_unit": "s", "root": str(tmp_path)}
    )
    new, old = PoseTsvSource(folds), PoseTsvSource(config).list_clips("train")
    clips = [clip for split in new.list_splits() for clip in new.list_clips(split)]
    assert {clip.id: clip.span for clip in clips} == {clip.id: clip.span for clip in old}
