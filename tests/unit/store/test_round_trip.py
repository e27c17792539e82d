"""What goes into a store comes out of it, in every process, in the same bytes."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_corpus import (
    LAYOUT,
    FakeStep,
    change,
    extraction,
    frames_span,
    make_corpus,
    write_media,
)

from kinesweep.core.clip import Clip
from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.core.schema import StreamSchema
from kinesweep.store import ClipRecord, open_store
from kinesweep.store.extraction.build import build_store
from kinesweep.store.format.index import build_index_table, parse_index_table
from kinesweep.store.inspect.checks import find_shared_features, verify_store


def test_features_come_back_rounded_to_the_stored_type(tmp_path):
    source = make_corpus(tmp_path, train=3, test=1)
    store = build_store(extraction(source, tmp_path / "stores"))
    assert store.splits == ("train", "test")
    assert store.schema.streams == {"pose": StreamSchema(6, 25.0, "float16", LAYOUT)}
    for split in store.splits:
        for clip, record in zip(source.list_clips(split), store.get_records(split), strict=True):
            x_TD = store.get_features(record)["pose"]
            assert record.clip == clip
            assert record.lengths == {"pose": len(x_TD)}
            assert record.rates_hz == {"pose": 25.0}
            np.testing.assert_array_equal(
                x_TD, FakeStep().compute_features(source.read(clip))["pose"].x_TD.astype(np.float16)
            )
    verify_store(store)


def test_float32_keeps_every_bit(tmp_path):
    source = make_corpus(tmp_path, train=2)
    store = build_store(extraction(source, tmp_path / "stores", dtype="float32"))
    x_TD = store.get_features(store.get_records("train")[1])["pose"]
    assert x_TD.dtype == np.float32
    np.testing.assert_array_equal(
        x_TD, FakeStep().compute_features(source.read(source.listed[1]))["pose"].x_TD
    )


def test_features_are_views_that_cannot_be_written(tmp_path):
    store = build_store(extraction(make_corpus(tmp_path, train=1), tmp_path / "stores"))
    x_TD = store.get_features(store.get_records("train")[0])["pose"]
    assert not x_TD.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        x_TD[0, 0] = 1


def test_clips_of_many_shards_are_found(tmp_path):
    source = make_corpus(tmp_path, train=70, validation=1)
    store = build_store(extraction(source, tmp_path / "stores"))
    assert len({record.shard for record in store.get_records("train")}) == 3
    last = store.get_records("train")[-1]
    expected = FakeStep().compute_features(source.read(last.clip))["pose"].x_TD.astype(np.float16)
    np.testing.assert_array_equal(store.get_features(last)["pose"], expected)


def test_a_store_pickles_as_its_folder(tmp_path):
    store = build_store(extraction(make_corpus(tmp_path, train=2), tmp_path / "stores"))
    again = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000
    assert again.fingerprint == store.fingerprint
    assert again.get_records("train") == store.get_records("train")


def test_an_unknown_split_is_an_error_that_names_the_known_ones(tmp_path):
    store = build_store(extraction(make_corpus(tmp_path, train=1, test=1), tmp_path / "stores"))
    with pytest.raises(StoreError, match="no split `validation`; it has train, test"):
        store.get_records("validation")


def test_the_records_of_a_split_can_be_changed_by_nobody(tmp_path):
    store = build_store(extraction(make_corpus(tmp_path, train=2), tmp_path / "stores"))
    store.get_records("train").clear()
    assert len(store.get_records("train")) == 2


def test_the_index_keeps_all_that_is_known_of_a_clip():
    full = Clip(
        id="näher@1-2",
        split="test",
        media="a/b.pose",
        span=frames_span(3, 9),
        texts=("Grüße.", "Viele Grüße!"),
        encoder_prompt="__dgs__",
        decoder_prompt="__de__",
        document="Wetter",
        order=4,
        signer="S1",
        gloss="GRUSS VIEL",
        language="de",
        row="test.tsv:7",
    )
    records = [
        ClipRecord(full, {"a": 3, "b": 5}, {"a": 25.0, "b": 12.5}, "shards/x.arrow", 8, "k", "d"),
        ClipRecord(Clip("x", "train", "x.pose"), {"a": 1, "b": 1}, {"a": 1.0, "b": 1.0}),
    ]
    assert parse_index_table(build_index_table(records, ["a", "b"]), ["a", "b"]) == records


def test_the_same_corpus_gives_the_same_bytes(tmp_path):
    source = make_corpus(tmp_path, train=40, test=3)
    first = build_store(extraction(source, tmp_path / "one"))
    second = build_store(extraction(source, tmp_path / "two"))
    assert first.folder.name == second.folder.name
    assert compute_file_hashes(first.folder) == compute_file_hashes(second.folder)


def test_a_moved_store_opens(tmp_path):
    store = build_store(extraction(make_corpus(tmp_path, train=2), tmp_path / "stores"))
    moved = store.folder.rename(tmp_path / "elsewhere")
    verify_store(open_store(moved))


def test_shared_features_are_found_under_other_names(tmp_path):
    source = make_corpus(tmp_path, train=3, test=2)
    write_media(tmp_path, "test-1", Path(tmp_path / "media/train-2.txt").read_text())
    store = build_store(extraction(source, tmp_path / "stores"))
    (found,) = find_shared_features(store)
    assert (found.first, found.second, found.pairs) == ("train", "test", (("train-2", "test-1"),))


def test_several_spans_of_one_file_are_several_clips(tmp_path):
    source = make_corpus(tmp_path, train=2)
    write_media(tmp_path, "long", "10 frames of 0")
    source = change(source, "train-0", media="media/long.txt", span=frames_span(0, 4))
    source = change(source, "train-1", media="media/long.txt", span=frames_span(4, 10))
    store = build_store(extraction(source, tmp_path / "stores"))
    assert [record.lengths["pose"] for record in store.get_records("train")] == [4, 6]


def test_clips_of_equal_width_but_other_points_do_not_mix(tmp_path):
    source = make_corpus(tmp_path, train=2, test=1)
    write_media(tmp_path, "train-1", "hand 4 frames of 1.0")
    with pytest.raises(
        StoreError, match=r"train\.tsv:3: wrong_layout: .*points of different names"
    ):
        build_store(extraction(source, tmp_path / "stores"))


def test_copied_clips_keep_their_points(tmp_path):
    source = make_corpus(tmp_path, train=3, test=1)
    first = build_store(extraction(source, tmp_path / "stores"))
    smaller = replace(source, listed=source.listed[1:])
    second = build_store(extraction(smaller, tmp_path / "stores"))
    assert second.extraction.reused == 3
    assert second.schema == first.schema and second.schema.streams["pose"].layout == LAYOUT
