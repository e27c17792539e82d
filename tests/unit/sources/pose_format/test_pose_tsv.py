"""The source `pose_tsv`: names of columns, times, ids, paths, counted problems."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, InputError, SourceError
from kinesweep.core.units import Span
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource

Write = Callable[..., Path]


def source_of(folder: Path, content: str | bytes, **settings: Any) -> PoseTsvSource:
    """A corpus with a training split alone."""
    path = folder / "train.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return PoseTsvSource(PoseTsvConfig(train=str(path), **settings))


def clips_of(folder: Path, content: str | bytes, **settings: Any) -> list[Clip]:
    return source_of(folder, content, **settings).list_clips("train")


ROW = "a.pose\t40\t80\t__asl__\t__en__\tHello."
NEWEST = "signal\tsignal_start\tsignal_end\tencoder_prompt\tdecoder_prompt\toutput"


@pytest.mark.parametrize(
    "header",
    [
        NEWEST,
        "source_signal\tsource_start\tsource_end\tsource_prompt\tgeneration_prompt\toutput_text",
        "input_pose\tsource_start\tsource_end\tsource_prompt\tgeneration_prompt\toutput_text",
    ],
)
def test_three_generations_of_names(tmp_path: Path, header: str) -> None:
    (clip,) = clips_of(tmp_path, f"{header}\n{ROW}\n")
    assert clip == Clip(
        id="a@40-80",
        split="train",
        media="a.pose",
        span=Span(40, 80, "ms"),
        texts=("Hello.",),
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        row="train.tsv:2",
    )


def test_a_cut_clip_is_used_whole(tmp_path: Path) -> None:
    header = "input_pose\tinput_clip\tsource_start\tsource_end\tinput_text\toutput_text"
    rows = "long.pose\tcut.pose\t40\t80\thm\tOne.\nlong.pose\t\t40\t80\thm\tTwo."
    first, second = clips_of(tmp_path, f"{header}\n{rows}\n")
    assert (first.media, first.span.is_full, first.id) == ("cut.pose", True, "cut")
    assert (second.media, second.span, second.id) == ("long.pose", Span(40, 80), "long@40-80")


def test_columns_of_our_own(tmp_path: Path) -> None:
    header = "id\tsignal\toutput\tdocument\torder\tsigner\tgloss\tlanguage"
    (clip,) = clips_of(tmp_path, f"{header}\nx1\ta.pose\tHi.\tdoc\t7\tanna\tHELLO YOU\ten\n")
    about = (clip.id, clip.document, clip.order, clip.signer, clip.gloss, clip.language)
    assert about == ("x1", "doc", 7, "anna", "HELLO YOU", "en")


def test_order_counts_within_the_document(tmp_path: Path) -> None:
    rows = "a.pose\tx\td1\nb.pose\ty\td2\nc.pose\tz\td1\n"
    clips = clips_of(tmp_path, f"signal\toutput\tdocument\n{rows}")
    assert [(clip.document, clip.order) for clip in clips] == [("d1", 0), ("d2", 0), ("d1", 1)]


@pytest.mark.parametrize(
    ("start", "end", "span", "name"),
    [
        ("0", "0", Span(), "a"),
        ("", "", Span(), "a"),
        ("", "1500", Span(None, 1500), "a@0-1500"),
        ("1234567", "0", Span(1234567, None), "a@1234567-"),
        ("0.5", "12.25", Span(0.5, 12.25), "a@0.5-12.25"),
    ],
)
def test_bounds_stand_on_their_own(
    tmp_path: Path, start: str, end: str, span: Span, name: str
) -> None:
    header = "signal\tsignal_start\tsignal_end\toutput"
    (clip,) = clips_of(tmp_path, f"{header}\na.pose\t{start}\t{end}\tHi.\n")
    assert (clip.span, clip.id) == (span, name)


def test_times_in_frames(tmp_path: Path, write_pose: Write) -> None:
    write_pose("a.pose")
    header = "signal\tsignal_start\tsignal_end\toutput"
    source = source_of(tmp_path, f"{header}\na.pose\t1\t3\tHi.\n", time_unit="frames")
    (clip,) = source.list_clips("train")
    assert clip.span == Span(1, 3, "frames")
    assert len(source.read(clip).points_TPJC) == 2


def test_a_long_video_cut_twice(tmp_path: Path, write_pose: Write) -> None:
    write_pose("a.pose")
    header = "signal\tsignal_start\tsignal_end\toutput"
    source = source_of(tmp_path, f"{header}\na.pose\t0\t80\tOne.\na.pose\t80\t0\tTwo.\n")
    first, second = (source.read(clip).points_TPJC for clip in source.list_clips("train"))
    assert (len(first), len(second)) == (2, 2)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    "content",
    [
        b"signal\toutput\na.pose\tGr\xc3\xbc\xc3\x9fe\n",
        b"\xef\xbb\xbfsignal\toutput\na.pose\tGr\xc3\xbc\xc3\x9fe\n",
        b"signal\toutput\r\na.pose\tGr\xc3\xbc\xc3\x9fe\r\n",
        b"signal\toutput\na.pose\tGr\xc3\xbc\xc3\x9fe",
        b"\xef\xbb\xbf signal\toutput \r\n\r\na.pose \t Gr\xc3\xbc\xc3\x9fe\r\n\r\n",
    ],
)
def test_what_editors_do_to_files(tmp_path: Path, content: bytes) -> None:
    (clip,) = clips_of(tmp_path, content)
    assert (clip.media, clip.texts) == ("a.pose", ("Grüße",))


def test_quotes_and_odd_separators_are_text(tmp_path: Path) -> None:
    texts = ['"Yes', '"a" and "b"', "it's \u2028 here", 'he said ""', "x\x0by\x85z"]
    rows = "".join(f"{number}.pose\t{text}\n" for number, text in enumerate(texts))
    assert [c.texts[0] for c in clips_of(tmp_path, f"signal\toutput\n{rows}")] == texts


def test_line_numbers_are_the_editor_s(tmp_path: Path) -> None:
    clips = clips_of(tmp_path, "signal\toutput\n\na.pose\tx\n\nb.pose\ty\n")
    assert [clip.row for clip in clips] == ["train.tsv:3", "train.tsv:5"]


def test_ignored_columns(tmp_path: Path) -> None:
    content = "signal\toutput\tnotes\tsigner\na.pose\tHi.\tblurred\tanna\n"
    (clip,) = clips_of(tmp_path, content, ignore_columns=("notes", "signer"))
    assert clip.signer == ""


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    header = "signal\tsignal_start\tsignal_end\toutput"
    rows = ["a.pose\t0\t0\tHi.", "b.pose\t0\t0\t  ", "c.pose\t90\t80\tHo.", "d.pose\t80\t80\tHe."]
    source = source_of(tmp_path, "\n".join([header, *rows]))
    assert [clip.id for clip in source.list_clips("train")] == ["a"]
    found = [(p.row, p.clip_id, p.reason) for p in source.list_invalid_rows()]
    assert found == [
        ("train.tsv:3", "b", "empty_text"),
        ("train.tsv:4", "c@90-80", "empty_span"),
        ("train.tsv:5", "d@80-80", "empty_span"),
    ]


def splits_of(tmp_path: Path, **tables: str) -> PoseTsvSource:
    for split, lines in tables.items():
        (tmp_path / f"{split}.tsv").write_text(lines, encoding="utf-8")
    paths = {split: str(tmp_path / f"{split}.tsv") for split in tables}
    return PoseTsvSource(PoseTsvConfig.model_validate(paths))


def ids_of(source: PoseTsvSource) -> list[str]:
    return [clip.id for split in source.list_splits() for clip in source.list_clips(split)]


def test_names_that_repeat_become_paths_and_others_stay(tmp_path: Path) -> None:
    """As in corpora that count their files anew in each split, or in each signer's folder."""
    head = "signal\tsignal_end\toutput\n"
    source = splits_of(
        tmp_path,
        train=head
        + "train/1.pose\t0\tA.\ntrain/2.pose\t0\tB.\na/3.pose\t90\tC.\nb/3.pose\t90\tD.\n",
        test=head + "test/1.pose\t0\tE.\n",
    )
    assert ids_of(source) == ["train/1", "2", "a/3@0-90", "b/3@0-90", "test/1"]


def test_paths_that_repeat_have_their_split_before_them(tmp_path: Path) -> None:
    head = "signal\toutput\n"
    tables = dict.fromkeys(("train", "test"), head + "1.pose\tHi.\n")
    assert ids_of(splits_of(tmp_path, **tables)) == ["train/1", "test/1"]


def test_ids_that_rows_give_themselves_stay(tmp_path: Path) -> None:
    head = "id\tsignal\toutput\n"
    source = splits_of(tmp_path, train=head + "1\ta.pose\tA.\n\tb/1.pose\tB.\n")
    assert ids_of(source) == ["1", "b/1"]


def test_the_same_clip_twice_is_refused(tmp_path: Path) -> None:
    source = splits_of(tmp_path, train="signal\toutput\n1.pose\tA.\n1.pose\tB.\n")
    with pytest.raises(
        SourceError, match=r"train.tsv:3 .*`train/1` is already used by train.tsv:2"
    ):
        source.list_clips("train")


def test_ids_are_unique_over_the_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        table = "id\tsignal\toutput\nx\t1.pose\tHi.\n"
        (tmp_path / split / "t.tsv").write_text(table, encoding="utf-8")
    config = PoseTsvConfig(
        train=str(tmp_path / "train" / "t.tsv"), test=str(tmp_path / "test" / "t.tsv")
    )
    with pytest.raises(SourceError) as caught:
        PoseTsvSource(config).list_clips("test")
    # Both tables are called t.tsv, so messages give their paths.
    assert f"{tmp_path}/test/t.tsv:2" in str(caught.value)
    assert f"already used by {tmp_path}/train/t.tsv:2" in str(caught.value)


def test_paths_are_relative_to_the_table_or_the_root(tmp_path: Path, write_pose: Write) -> None:
    path = write_pose("poses/a.pose")
    content = "signal\toutput\na.pose\tHi.\n"
    source = source_of(tmp_path, content, root=str(tmp_path / "poses"))
    assert source.resolve_media_path(source.list_clips("train")[0]) == path
    source = source_of(tmp_path, content.replace("a.pose", "poses/a.pose"))
    assert source.resolve_media_path(source.list_clips("train")[0]) == path
    source = source_of(tmp_path, content.replace("a.pose", str(path)))
    assert source.resolve_media_path(source.list_clips("train")[0]) == path


@pytest.mark.parametrize(
    ("media", "reason", "words"),
    [
        ("../a.pose", "outside_root", "`source.root`"),
        ("/etc/a.pose", "outside_root", "`source.root`"),
        ("no.pose", "missing_file", "does not exist"),
        ("folder.pose", "not_a_file", "is not a file"),
        ("x" * 300 + ".pose", "missing_file", "does not exist"),
        ("a\0.pose", "missing_file", "does not exist"),
    ],
)
def test_media_that_cannot_be_used(tmp_path: Path, media: str, reason: str, words: str) -> None:
    (tmp_path / "folder.pose").mkdir()
    source = source_of(tmp_path, f"signal\toutput\n{media}\tHi.\n")
    (clip,) = source.list_clips("train")
    with pytest.raises(ClipError, match=words) as caught:
        source.read(clip)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("train.tsv:2: ")


def test_check_opens_every_file(tmp_path: Path, write_pose: Write) -> None:
    write_pose("good.pose")
    (tmp_path / "bad.pose").write_bytes(b"")
    header = "signal\tsignal_start\tsignal_end\toutput"
    rows = ["bad.pose\t0\t0\tx", "good.pose\t0\t0\t", "good.pose\t0\t80\tx", "good.pose\t900\t0\tx"]
    source = source_of(tmp_path, "\n".join([header, *rows]))
    seen: list[tuple[int, int]] = []
    found = source.check_clips(lambda done, of: seen.append((done, of)))
    assert [(p.row, p.reason) for p in found] == [
        ("train.tsv:2", "empty_file"),
        ("train.tsv:3", "empty_text"),
        ("train.tsv:5", "span_beyond_file"),
    ]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_person_of_the_configuration(tmp_path: Path, write_pose: Write, make: Any) -> None:
    points = make["numbers"](4, people=2)
    write_pose("a.pose", points_TPJC=points)
    source = source_of(tmp_path, "signal\toutput\na.pose\tHi.\n", person=1)
    pose = source.read(source.list_clips("train")[0])
    np.testing.assert_array_equal(pose.points_TPJC, points[:, 1:])


def test_relative_paths_are_of_the_folder_at_the_start(
    tmp_path: Path, write_pose: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pose("poses/a.pose")
    (tmp_path / "train.tsv").write_text("signal\toutput\na.pose\tHi.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    source = PoseTsvSource(PoseTsvConfig(train="train.tsv", root="poses"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (clip,) = pickle.loads(pickle.dumps(source)).list_clips("train")
    assert len(source.read(clip).points_TPJC) == 4
    with pytest.raises(ClipError, match="outside"):
        source.resolve_media_path(replace(clip, media="../train.pose"))


def test_no_such_split(tmp_path: Path) -> None:
    source = source_of(tmp_path, "signal\toutput\na.pose\tHi.\n")
    assert source.list_splits() == ("train",)
    with pytest.raises(InputError, match="no split `test`; it has train"):
        source.list_clips("test")


def test_a_pickle_carries_no_rows(tmp_path: Path) -> None:
    rows = "".join(f"{number}.pose\tHi.\n" for number in range(500))
    source = source_of(tmp_path, f"signal\toutput\n{rows}")
    before = len(pickle.dumps(source))
    assert len(source.list_clips("train")) == 500
    assert len(pickle.dumps(source)) == before


def test_rows_may_name_videos_whose_poses_are_elsewhere(tmp_path: Path) -> None:
    rows = ["a.mp4\tone", "b/c.d.MKV\ttwo", "frames/e.1/\tthree", "f.pose\tfour"]
    (tmp_path / "train.tsv").write_text("\n".join(["signal\toutput", *rows]) + "\n")
    plain = {"train": str(tmp_path / "train.tsv"), "root": str(tmp_path / "poses")}
    with pytest.raises(SourceError, match="3 problems"):
        PoseTsvSource(PoseTsvConfig.model_validate(plain)).list_clips("train")
    films = PoseTsvConfig.model_validate({**plain, "videos": "anywhere"})
    clips = PoseTsvSource(films).list_clips("train")
    assert [clip.media for clip in clips] == ["a.pose", "b/c.d.pose", "frames/e.1.pose", "f.pose"]
    assert [clip.id for clip in clips] == ["a", "c.d", "e.1", "f"]
    with pytest.raises(ValueError, match="needs `root`"):
        PoseTsvConfig.model_validate({"train": "train.tsv", "videos": "anywhere"})
