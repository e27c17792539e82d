"""Statistics of the media are part of a store: same bytes however it was built, and optional."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
from fake_corpus import FakeStep, change, extraction, make_corpus
from rich.console import Console

from kinesweep.core.hashing import compute_file_hashes
from kinesweep.features.quality.media_statistics import MediaStatistics
from kinesweep.store.extraction.build import build_store
from kinesweep.store.extraction.chunk_processor import ClipStatus
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.format.statistics_table import (
    STATISTICS,
    build_statistics_table,
    parse_statistics_table,
)
from kinesweep.store.format.writer import MANIFEST, write_store_manifest
from kinesweep.store.inspect.checks import verify_store
from kinesweep.store.inspect.show import describe_store
from kinesweep.store.inspect.warnings import find_store_warnings

SOME = MediaStatistics(20, 29.97, False, True, {"person": 20, "face": 3}, 1, 2, 50, False)


def remove_statistics(store: Store) -> Store:
    """The store as an earlier version wrote it."""
    manifest = json.loads((store.folder / MANIFEST).read_text())
    del manifest["checksum"], manifest["quality"], manifest["files"][STATISTICS]
    (store.folder / STATISTICS).unlink()
    write_store_manifest(store.folder, manifest)
    return open_store(store.folder)


def test_a_table_keeps_all_statistics() -> None:
    clips = [SOME, None, replace(SOME, frames_with={}, has_whole_fps=True)]
    table = build_statistics_table(clips)
    assert parse_statistics_table(pa.table(table)) == clips


def test_clips_have_their_own_statistics(tmp_path: Any) -> None:
    store = build_store(extraction(make_corpus(tmp_path, train=3, test=2), tmp_path / "stores"))
    for split in store.splits:
        records, statistics = store.get_records(split), store.get_media_statistics(split)
        assert [clip and clip.num_frames for clip in statistics] == [
            record.lengths["pose"] for record in records
        ]
    assert store.quality["train"].clips == 3 and store.quality["test"].clips == 2
    assert store.quality["train"].detection == {"person": 1.0, "body": 1.0}
    verify_store(store)


def test_a_store_of_an_earlier_version_opens_and_its_copies_get_statistics(tmp_path: Any) -> None:
    source = make_corpus(tmp_path, train=4, test=1)
    old = remove_statistics(build_store(extraction(source, tmp_path / "stores")))
    assert old.quality == {} and old.get_media_statistics("train") == [None] * 4
    assert find_store_warnings(old) == []
    new_text = change(source, "train-0", texts=("Another.",))
    copied = build_store(extraction(new_text, tmp_path / "stores"))
    assert copied.extraction is not None and copied.extraction.reused == 5
    fresh = build_store(extraction(new_text, tmp_path / "fresh"))
    assert compute_file_hashes(copied.folder) == compute_file_hashes(fresh.folder)


def test_statistics_are_copied_with_the_features(tmp_path: Any, monkeypatch: Any) -> None:
    source = make_corpus(tmp_path, train=4)
    build_store(extraction(source, tmp_path / "stores"))

    def fail(*_: Any) -> None:
        raise AssertionError("read")

    changed = change(source, "train-0", texts=("Another.",))
    spec = extraction(changed, tmp_path / "stores")
    monkeypatch.setattr(type(source), "read", fail)
    store = build_store(spec)
    assert all(store.get_media_statistics("train"))


def test_media_without_points_leave_the_store_as_it_was(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "kinesweep.store.extraction.clip_processor.compute_media_statistics", lambda _: None
    )
    store = build_store(extraction(make_corpus(tmp_path, train=2), tmp_path / "stores"))
    assert STATISTICS not in store.manifest["files"] and "quality" not in store.manifest
    assert not (store.folder / STATISTICS).exists()


def test_a_store_is_shown_with_its_detection_rates(tmp_path: Any) -> None:
    store = build_store(extraction(make_corpus(tmp_path, train=2), tmp_path / "stores"))
    console = Console(record=True, width=160)
    console.print(describe_store(store))
    text = console.export_text()
    assert "detected in the poses" in text and "100.0%" in text


def test_rates_of_streams_that_differ_are_a_warning(tmp_path: Any) -> None:
    class Rates(FakeStep):
        def compute_features(self, pose: Any) -> Any:
            found = super().compute_features(pose)
            features = found["pose"]
            return {"pose": replace(features, rate_hz=50.0 if len(features.x_TD) == 2 else 25.0)}

    spec = extraction(make_corpus(tmp_path, train=5), tmp_path / "stores", step=Rates())
    (warning,) = find_store_warnings(build_store(spec))
    assert warning.kind == "several_rates"
    assert "25 (4 clips, such as `train-1`), 50 (1 clip," in warning.message


def test_a_status_crosses_processes_as_plain_values() -> None:
    from kinesweep.store.extraction.extract import _decode_clip_status, _encode_clip_status

    for statistics in (SOME, None):
        status = ClipStatus(3, {}, statistics, "digest")
        row = json.loads(json.dumps(_encode_clip_status(status)))
        assert _decode_clip_status(row) == status
