"""Overlap between splits, counted in clips of the later one."""

from pathlib import Path

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.splitting.split_overlap import (
    SplitOverlap,
    compute_overlaps,
    normalize_sentence,
)

TRAIN = [("Rain.", "d1", "anna"), ("Snow!", "d1", "ben"), ("Wind  blows.", "d2", "")]
VALIDATION = [
    ("Rain.", "d3", "anna"),
    ("Rain.", "d1", "cleo"),
    ("snow!", "d1", ""),
    ("Sun.", "d4", "ben"),
]


def report_of(folder: Path, **splits: list[tuple[str, str, str]]):  # type: ignore[no-untyped-def]
    paths = {}
    for split, rows in splits.items():
        lines = ["id\tsignal\toutput\tdocument\tsigner"]
        lines += [
            "\t".join((f"{split}{number}", "x.pose", *row)) for number, row in enumerate(rows)
        ]
        (folder / f"{split}.tsv").write_text("\n".join(lines), encoding="utf-8")
        paths[split] = str(folder / f"{split}.tsv")
    return compute_overlaps(PoseTsvSource(PoseTsvConfig(**paths)))


def test_counts(tmp_path: Path) -> None:
    report = report_of(tmp_path, train=TRAIN, validation=VALIDATION)
    pair = ("train", "validation")
    assert report.overlaps == (
        SplitOverlap("sentence", *pair, 1, 2, 4, ("Rain.",)),
        SplitOverlap("normalized sentence", *pair, 2, 3, 4, ("rain.", "snow!")),
        SplitOverlap("document", *pair, 1, 2, 4, ("d1",)),
        SplitOverlap("signer", *pair, 2, 2, 3, ("anna", "ben")),
    )
    assert report.nonempty_overlaps == report.overlaps
    assert report.overlaps[0].share == 0.5


def test_every_pair_is_reported_even_where_nothing_is_shared(tmp_path: Path) -> None:
    alone = [("Fog.", "", "")]
    report = report_of(tmp_path, train=TRAIN, validation=VALIDATION, test=alone)
    pairs = {(item.first, item.second) for item in report.overlaps}
    assert pairs == {("train", "validation"), ("train", "test"), ("validation", "test")}
    kinds = [item.kind for item in report.overlaps if item.second == "test"]
    assert kinds == ["sentence", "normalized sentence"] * 2  # it has no documents, no signers
    assert all(item.num_clips == 0 for item in report.overlaps if item.second == "test")
    assert len(report.nonempty_overlaps) == 4


def test_for_people_and_machines(tmp_path: Path) -> None:
    report = report_of(tmp_path, train=TRAIN, validation=VALIDATION)
    head, first, *_ = report.build_table_rows()
    assert len(head) == len(first)
    assert first == ("sentence", "train → validation", "2", "4", "50.0%", "Rain.")
    assert (
        report.format_lines()[0]
        == "train → validation: 2 of 4 clips (50.0%) share a sentence\n    Rain."
    )
    assert report.to_dicts()[0]["num_clips"] == 2


def test_a_log_is_told_what_train_shares_and_nothing_else(tmp_path: Path) -> None:
    alone = [("Fog.", "", "")]
    report = report_of(tmp_path, train=TRAIN, validation=VALIDATION, test=alone)
    lines = report.format_train_leakage()
    assert lines[0] == "2 of 4 clips of validation (50.0%) share a sentence with train"
    assert len(lines) == 3 and not any("normalized" in line or "test" in line for line in lines)
    assert report_of(tmp_path, train=TRAIN, test=alone).format_train_leakage() == []


def test_normalising() -> None:
    assert normalize_sentence("  STRASSE \t im\u00a0Cafe\u0301 ") == normalize_sentence(
        "straße im Café"
    )
    assert normalize_sentence("rain.") != normalize_sentence("rain")
