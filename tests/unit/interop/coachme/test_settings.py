"""Settings of CoachMe's data: frames as its README says and its loader slices; what is counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from coachme import SETTINGS, TYPES, joints, motion, record, records, segment, standards, write
from kinesweep.cli import app
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.errors import InputError, SourceError
from kinesweep.interop.coachme.conversion import ConvertedCoachMeData, convert_coachme_data
from kinesweep.sources.skeletons.skeletons import SkeletonsSource

SPORTS = tuple(TYPES)


def convert(
    folder: Path, found: list[dict[str, Any]], setting: Any, held: list[dict[str, Any]] | None
) -> ConvertedCoachMeData:
    standard = None if held is None else write(folder / "standard.pkl", held)
    return convert_coachme_data(
        write(folder / "data.pkl", found), folder / "out.tsv", setting, standard
    )


def source_of(table: Path, split: str = "train") -> SkeletonsSource:
    plain = {"kind": "skeletons", "fps": 30, split: str(table), "ignore_columns": ["camera_view"]}
    return SkeletonsSource(SkeletonsConfig.model_validate(plain))


def read_as_the_readme_says(
    found: list[dict[str, Any]], held: list[dict[str, Any]], sport: str, setting: str
) -> tuple[dict[str, tuple[Any, Any]], dict[str, int]]:
    """Name → frames of the clip and of its standard, and what gives no clip; by lists alone."""
    clips: dict[str, tuple[Any, Any]] = {}
    dropped: dict[str, int] = {}

    def drop(reason: str) -> None:
        dropped[reason] = dropped.get(reason, 0) + 1

    for entry in found:
        if sport == "skating" and ("_" in entry["video_name"]) != (setting == "gt"):
            drop("other_setting")
            continue
        own = list(joints(entry))
        correct = next(list(joints(s)) for s in held if s["video_name"] == entry["motion_type"])
        if setting != "none":
            length = entry[f"{setting}_seq_len"]
            start, other = entry[f"{setting}_start_frame"], entry[f"{setting}_std_start_frame"]
            own, correct = own[start : start + length], correct[other : other + length]
        if len(own) in (0, 1):
            drop("too_short")
        elif setting != "none" and len(own) != len(correct):
            drop("reference_length")
        else:
            clips[entry["video_name"]] = own, correct
    return clips, dropped


@pytest.mark.parametrize("sport", SPORTS)
@pytest.mark.parametrize("setting", [*SETTINGS, "none"])
@pytest.mark.parametrize("odd", [False, True])
def test_frames_of_clips_and_standards(tmp_path: Path, sport: str, setting: str, odd: bool) -> None:
    found, held = records(sport, 60, odd), standards(sport)
    wanted, dropped = read_as_the_readme_says(found, held, sport, setting)
    assert {"too_short", "reference_length"} <= set(dropped) or not odd or setting == "none"
    done = convert(tmp_path, found, setting, held)
    assert (done.clips, done.references, done.dropped) == (len(wanted), len(wanted), dropped)
    assert (done.left, done.other_lengths, done.other_ends) == ({}, 0, 0)
    source = source_of(done.table)
    assert not source.list_invalid_rows()
    clips = source.list_clips("train")
    assert [clip.id for clip in clips] == list(wanted)
    for clip in clips:
        read = source.read(clip)
        assert read.reference_pose is not None
        own, correct = wanted[clip.id]
        np.testing.assert_array_equal(read.pose.points_TPJC[:, 0], own)
        np.testing.assert_array_equal(read.reference_pose.points_TPJC[:, 0], correct)


@pytest.mark.parametrize("sport", SPORTS)
def test_texts_and_columns(tmp_path: Path, sport: str) -> None:
    found = records(sport, 6)
    setting = "gt" if sport == "skating" else "aligned"
    done = convert(tmp_path, found, setting, standards(sport))
    entries = {e["video_name"]: e for e in found if sport == "boxing" or "_" in e["video_name"]}
    for clip in source_of(done.table).list_clips("train"):
        entry = entries.pop(clip.id)
        assert clip.texts == tuple(entry["labels"])
        assert clip.augmented_texts == tuple(entry["augmented_labels"])
        assert clip.gloss == entry["motion_type"]
        assert clip.document == ("" if sport == "boxing" else clip.id.split("_")[0])
    assert not entries
    assert not any(c.augmented_texts for c in source_of(done.table, "test").list_clips("test"))
    header, *rows = [line.split("\t") for line in done.table.read_text().splitlines()]
    cameras = [e["camera_view"] for e in found if "camera_view" in e]
    assert [row[header.index("camera_view")] for row in rows if "camera_view" in header] == cameras


def test_types_without_a_standard_are_listed(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"types `Double_Axel` \(3 clips\), `Lutz` \(2 clips\); it"
    ):
        convert(tmp_path, records("skating", 10), "aligned", standards("skating")[::2])
    done = convert(tmp_path, records("skating", 10), "aligned", None)
    assert (done.clips, done.references, done.standards) == (10, 0, ())
    assert "reference" not in done.table.read_text().splitlines()[0]
    renamed = [{**s, "video_name": f"my {s['video_name']}"} for s in standards("boxing")]
    named = convert(tmp_path, records("boxing", 4), "gt", renamed)
    assert named.standards == ("my Jab", "my Cross")
    twice = [*renamed, {**renamed[0], "video_name": "another"}]
    with pytest.raises(SourceError, match="2 standards of the motion type `Jab`: my Jab, another"):
        convert(tmp_path, records("boxing", 4), "gt", twice)
    with pytest.raises(SourceError, match="two standards of the name `Jab`"):
        convert(tmp_path, records("boxing", 4), "gt", standards("boxing") * 2)


def test_lengths_padding_and_placeholders(tmp_path: Path) -> None:
    """Frames of zeros after `original_seq_len` go; a length that is only different is counted."""
    padded, shorter, unset, missing, part = (record("boxing", n, ("gt",)) for n in range(5))
    padded["coordinates"] = motion(0, 12)
    padded["coordinates"][8:] = 0
    padded |= {"original_seq_len": 8, **segment("gt", 5, 0, 3)}
    shorter |= {"original_seq_len": 8, "gt_end_frame": 99}
    unset |= {"original_seq_len": -1, **segment("gt", -1, -1, -1)}
    found = [padded, shorter, unset, {k: v for k, v in missing.items() if "gt_" not in k}]
    found[1]["camera"] = found[2]["seq_len"] = 4
    done = convert(tmp_path, found, "gt", standards("boxing"))
    assert done.dropped == {"too_short": 1, "no_segment": 1}
    assert (done.clips, done.other_lengths, done.other_ends) == (2, 1, 1)
    assert done.left == {"camera": 1, "seq_len": 1}
    clip = source_of(done.table).list_clips("train")[0]
    assert (clip.span.start, clip.span.end) == (5, 8)
    whole = convert(tmp_path, found, "none", None)
    read = [source_of(whole.table).read(c) for c in source_of(whole.table).list_clips("train")]
    frames = [len(media.pose.points_TPJC) for media in read]
    assert frames == [8, *(len(entry["coordinates"]) for entry in found[1:])]
    del part["gt_std_start_frame"]
    with pytest.raises(SourceError, match="record 0: has no `gt_std_start_frame`"):
        convert(tmp_path, [part], "gt", standards("boxing"))


def test_a_setting_that_a_file_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    only = [e for e in records("skating", 3) if "_" in e["video_name"]]
    with pytest.raises(InputError, match=r"no clip of the setting `error` .*of `gt` \(6\)"):
        convert(tmp_path, only, "error", standards("skating"))


def test_a_clip_is_not_taken_for_a_standard(tmp_path: Path) -> None:
    """Whole skating videos have numbers as names, as the motions of a pack do."""
    found = [{**record("skating", n, ("aligned",)), "video_name": str(n + 3)} for n in (0, 4, 8)]
    done = convert(tmp_path, found, "aligned", standards("skating"))
    source = source_of(done.table)
    assert [clip.id for clip in source.list_clips("train")] == ["3", "7", "11"]
    correct = joints(standards("skating")[0])
    for clip in source.list_clips("train"):
        read = source.read(clip)
        assert read.reference_pose is not None
        first = int(clip.reference_span.start or 0)
        np.testing.assert_array_equal(read.reference_pose.points_TPJC[0, 0], correct[first])


def test_command(tmp_path: Path) -> None:
    data = str(write(tmp_path / "BX_train.pkl", [{**e, "fps": 30} for e in records("boxing", 4)]))
    standard, out = str(write(tmp_path / "std.pkl", standards("boxing"))), str(tmp_path / "o.tsv")
    run = CliRunner().invoke
    asked = run(app, ["convert", data, out, "--setting", "gt", "--standards", standard, "--json"])
    assert asked.exit_code == 0, asked.output
    assert "4 clips, 4 with a reference motion" in asked.output.replace("\n", " ")
    assert "left out  fps of 4 records" in asked.output and '"standards": ["Jab"' in asked.output
    plain = run(app, ["convert", data, out, "--overwrite"])
    assert "pass `--setting` to convert" in plain.output.replace("\n", " ")
    for options, said in (
        (["--standards", standard], "pass `--setting` too"),
        (["--setting", "gt", "--third", "none"], "three coordinates"),
        (["--setting", "gt", "--into", "x"], "contains motions"),
        (["--setting", "gt"], "already exists"),
    ):
        refused = run(app, ["convert", data, out, *options])
        assert refused.exit_code == 2 and said in refused.output.replace("\n", " ")
    refused = run(app, ["convert", "recipe.yaml", out, "--setting", "gt"])
    assert refused.exit_code == 2 and "`--setting` is an option for motions" in refused.output


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "3", 2.5, [1, 2], "abc"])
def test_a_start_that_is_no_whole_number_is_an_error(tmp_path: Path, value: Any) -> None:
    found = records("boxing", 2)
    found[1]["gt_start_frame"] = value
    with pytest.raises(SourceError, match=r"record 1: `gt_start_frame` must be a whole number"):
        convert(tmp_path, found, "gt", None)


def test_texts_in_arrays_and_missing_values(tmp_path: Path) -> None:
    found = records("boxing", 3)
    found[0] |= {
        "labels": np.array(["Größer „ja“", '"quoted', "tab\there"], object),
        "augmented_labels": np.array(["日本語", ""]),
        "camera_view": 0,
        "coordinates": torch.ones(20, 22, 3, dtype=torch.bfloat16),
    }
    found[1] |= {"labels": None, "augmented_labels": None, "camera_view": np.array([2])}
    found[2] |= {"video_name": None, "motion_type": None}
    convert(tmp_path, found, "none", None)
    clips = source_of(tmp_path / "out.tsv").list_clips("train")
    assert clips[0].texts == ("Größer „ja“", '"quoted', "tab here")
    assert clips[0].augmented_texts == ("日本語",)
    rows = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    column = rows[0].index("camera_view")
    assert [row[column] for row in rows[1:3]] == ["0", "2"]
    assert rows[3][0] == "motion_2"
    assert rows[3][rows[0].index("gloss")] == ""


@pytest.mark.parametrize("key", ["labels", "augmented_labels"])
@pytest.mark.parametrize("value", [{"b", "a"}, {"a": 1}, 3, [["a"]]])
def test_texts_without_an_order_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    found = records("boxing", 1)
    found[0][key] = value
    with pytest.raises(SourceError, match=rf"record 0: `{key}` (must be a list|has texts)"):
        convert(tmp_path, found, "none", None)


def test_numbered_names_are_unique(tmp_path: Path) -> None:
    found = records("boxing", 4)
    for entry, name in zip(found, ("a", "a", "a#2", "a"), strict=True):
        entry["video_name"] = name
    convert(tmp_path, found, "none", None)
    names = [line.split("\t")[0] for line in (tmp_path / "out.tsv").read_text().splitlines()[1:]]
    assert names == ["a", "a#3", "a#2", "a#4"]


@pytest.mark.parametrize("content", [{}, None, "text", {"a": [1], "b": 2}])
def test_a_file_without_records_is_named(tmp_path: Path, content: Any) -> None:
    with pytest.raises(SourceError, match=r"data\.pkl` must contain a list of records"):
        convert_coachme_data(write(tmp_path / "data.pkl", content), tmp_path / "o.tsv", "gt", None)


def test_a_clip_of_another_split_is_not_taken_for_a_standard(tmp_path: Path) -> None:
    """The standards of `test` have the numbers 3 and 4 there, which clips of `train` are called."""
    for split, count, held in (("train", 6, None), ("test", 3, standards("boxing"))):
        (tmp_path / split).mkdir()
        found = records("boxing", count)
        for number, entry in enumerate(found):
            entry["video_name"] = f"{number}" if split == "train" else f"t{number}"
        convert(tmp_path / split, found, "aligned", held)
    plain = {"kind": "skeletons", "fps": 30, "ignore_columns": ["camera_view"]}
    tables = {split: str(tmp_path / split / "out.tsv") for split in ("train", "test")}
    source = SkeletonsSource(SkeletonsConfig.model_validate(plain | tables))
    clips = source.list_clips("test")
    assert clips
    correct = {entry["motion_type"]: joints(entry) for entry in standards("boxing")}
    for clip in clips:
        read = source.read(clip)
        assert read.reference_pose is not None
        first = int(clip.reference_span.start or 0)
        np.testing.assert_array_equal(
            read.reference_pose.points_TPJC[0, 0], correct[clip.gloss][first]
        )
