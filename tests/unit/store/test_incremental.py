"""Only what changed is computed, and nothing in the bytes tells the difference."""

import os
from dataclasses import replace

import pytest
from fake_corpus import FakeStep, change, extraction, make_corpus, write_media

from kinesweep.core.clip import InvalidRow
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.core.units import Span
from kinesweep.store.extraction.build import build_store
from kinesweep.store.format.reader import ExtractionCounts
from kinesweep.store.format.writer import MANIFEST


def counts(*args, **values):
    return build_store(extraction(*args, **values)).extraction


def fail(*_):
    raise AssertionError("nothing should have been computed")


def test_an_unchanged_corpus_is_not_read_again(tmp_path):
    source = make_corpus(tmp_path, train=3, test=2)
    first = build_store(extraction(source, tmp_path / "stores"))
    assert first.extraction == ExtractionCounts(computed=5, reused=0, dropped=0)
    again = build_store(extraction(source, tmp_path / "stores"), fail, fail, fail)
    assert again.extraction == ExtractionCounts(computed=0, reused=5, dropped=0)
    assert again.folder == first.folder


def test_content_counts_and_time_does_not(tmp_path):
    source = make_corpus(tmp_path, train=3)
    first = build_store(extraction(source, tmp_path / "stores"))
    path = tmp_path / "media/train-1.txt"
    before = path.stat()
    os.utime(path, (1, 1))
    assert counts(source, tmp_path / "stores").computed == 0
    path.write_text(path.read_text().replace("3 frames", "7 frames"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    second = build_store(extraction(source, tmp_path / "stores"))
    assert second.extraction == ExtractionCounts(computed=1, reused=2, dropped=0)
    assert second.fingerprint != first.fingerprint
    assert second.get_records("train")[1].lengths == {"pose": 7}


def test_a_grown_corpus_equals_one_extracted_afresh(tmp_path):
    source = make_corpus(tmp_path, train=40, test=2)
    small = replace(source, listed=source.listed[3:])
    assert counts(small, tmp_path / "stores").computed == 39
    grown = build_store(extraction(source, tmp_path / "stores"))
    assert grown.extraction == ExtractionCounts(computed=3, reused=39, dropped=0)
    fresh = build_store(extraction(source, tmp_path / "fresh"))
    assert compute_file_hashes(grown.folder) == compute_file_hashes(fresh.folder)


@pytest.mark.parametrize(
    "change_of_text",
    [
        {"texts": ("Another.",)},
        {"decoder_prompt": "__de__"},
        {"signer": "B"},
        {"document": "film 9"},
    ],
)
def test_new_words_make_a_new_store_of_copied_features(tmp_path, change_of_text):
    source = make_corpus(tmp_path, train=3)
    first = build_store(extraction(source, tmp_path / "stores"))
    second = build_store(
        extraction(change(source, "train-1", **change_of_text), tmp_path / "stores")
    )
    assert second.extraction == ExtractionCounts(computed=0, reused=3, dropped=0)
    assert second.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "values",
    [{"step": FakeStep(scale=2.0)}, {"dtype": "float32"}, {"read_options": {"person": 1}}],
    ids=["step", "dtype", "reading"],
)
def test_what_changes_features_changes_every_key(tmp_path, values):
    source = make_corpus(tmp_path, train=3)
    assert counts(source, tmp_path / "stores").computed == 3
    assert counts(source, tmp_path / "stores", **values).computed == 3


@pytest.mark.parametrize("span", [Span(1.0, 2.0, "frames"), Span(0.0, 1.0, "frames"), Span(0, 2)])
def test_a_new_span_is_a_new_clip(tmp_path, span):
    source = make_corpus(tmp_path, train=3)
    source = change(source, "train-2", span=Span(0.0, 2.0, "frames"))
    assert counts(source, tmp_path / "stores").computed == 3
    cut = change(source, "train-2", span=span)
    assert counts(cut, tmp_path / "stores") == ExtractionCounts(1, 2, 0)


def test_a_span_in_whole_numbers_is_the_same_clip(tmp_path):
    source = change(make_corpus(tmp_path, train=3), "train-2", span=Span(0.0, 2.0, "frames"))
    assert counts(source, tmp_path / "stores").computed == 3
    same = change(source, "train-2", span=Span(0, 2, "frames"))
    assert counts(same, tmp_path / "stores").computed == 0


def test_order_and_bad_rows_are_part_of_the_name_and_row_numbers_are_not(tmp_path):
    source = make_corpus(tmp_path, train=3)
    name = build_store(extraction(source, tmp_path / "stores")).fingerprint
    renamed = change(source, "train-1", row="other.tsv:9")
    assert build_store(extraction(renamed, tmp_path / "stores")).fingerprint == name
    turned = replace(source, listed=source.listed[::-1])
    assert build_store(extraction(turned, tmp_path / "stores")).fingerprint != name
    worse = replace(source, bad_rows=(InvalidRow("train.tsv:9", "x", "empty_text", "no text"),))
    other = build_store(extraction(worse, tmp_path / "stores", max_dropped_share=1))
    assert other.fingerprint != name


def test_damaged_features_are_computed_instead_of_copied(tmp_path):
    source = make_corpus(tmp_path, train=3)
    first = build_store(extraction(source, tmp_path / "stores"))
    shard = first.folder / "shards/train-00000.arrow"
    content = bytearray(shard.read_bytes())
    # A byte of the second clip's features: found by its digest, not by the size.
    place = content.find(first.get_features(first.get_records("train")[1])["pose"].tobytes())
    content[place] ^= 1
    shard.write_bytes(content)
    changed = change(source, "train-0", texts=("New.",))
    second = build_store(extraction(changed, tmp_path / "stores"))
    assert second.extraction == ExtractionCounts(computed=1, reused=2, dropped=0)
    fresh = build_store(extraction(changed, tmp_path / "fresh"))
    assert compute_file_hashes(second.folder) == compute_file_hashes(fresh.folder)


def test_a_store_that_cannot_be_opened_gives_nothing(tmp_path):
    source = make_corpus(tmp_path, train=3)
    first = build_store(extraction(source, tmp_path / "stores"))
    (first.folder / MANIFEST).write_text("{")
    changed = change(source, "train-0", texts=("New.",))
    assert counts(changed, tmp_path / "stores").computed == 3


def test_the_same_media_twice_is_copied_for_both(tmp_path):
    source = make_corpus(tmp_path, train=2)
    write_media(tmp_path, "train-1", (tmp_path / "media/train-0.txt").read_text())
    assert counts(source, tmp_path / "stores").computed == 2
    changed = change(source, "train-0", texts=("New.",))
    assert counts(changed, tmp_path / "stores") == ExtractionCounts(0, 2, 0)
