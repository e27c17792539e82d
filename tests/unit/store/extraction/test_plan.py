"""What will be done is known before it is done, and a store can be looked at."""

import io
import shutil
from collections import namedtuple

import pytest
from fake_corpus import change, extraction, make_corpus, write_media
from rich.console import Console

from kinesweep.core.errors import InputError, StoreError
from kinesweep.store.extraction.build import build_store
from kinesweep.store.extraction.corpus_scan import scan_corpus
from kinesweep.store.extraction.plan import make_extraction_plan
from kinesweep.store.inspect.show import describe_store

Usage = namedtuple("Usage", "total used free")


def plan(asked):
    return make_extraction_plan(asked, scan_corpus(asked))


def shown(renderable):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_the_plan_counts_clips_and_bytes(tmp_path):
    source = make_corpus(tmp_path, train=10, test=2)
    build_store(extraction(source, tmp_path / "stores"))
    write_media(tmp_path, "train-0", "2 frames of 9")
    source = change(source, "train-1", media="media/none.txt")
    summary = plan(extraction(source, tmp_path / "stores")).summary
    assert (summary.num_to_compute, summary.num_to_reuse, summary.num_dropped) == (1, 10, 1)
    assert summary.splits == {"train": 9, "test": 2}
    assert summary.media_bytes == len("2 frames of 9")
    assert summary.text.startswith("11 clips (train 9, test 2): 1 to compute, 10 already")


def test_the_estimate_of_bytes_is_close_to_what_is_written(tmp_path):
    asked = extraction(make_corpus(tmp_path, train=60), tmp_path / "stores")
    estimate = plan(asked).summary.store_bytes
    store = build_store(asked)
    features = sum(store.compute_clip_bytes(record) for record in store.get_records("train"))
    assert estimate == pytest.approx(features, rel=0.15)


def test_every_chunk_is_one_shard_and_no_clip_is_in_two(tmp_path):
    chunks = plan(extraction(make_corpus(tmp_path, train=70, test=3), tmp_path / "stores")).chunks
    assert [len(chunk.tasks) for chunk in chunks] == [32, 32, 6, 3]
    ids = [entry.clip.id for chunk in chunks for entry in chunk.tasks]
    assert len(set(ids)) == 73
    assert len({chunk.shard for chunk in chunks}) == 4


def test_progress_and_announcement(tmp_path):
    calls = []
    asked = extraction(make_corpus(tmp_path, train=40), tmp_path / "stores")
    build_store(
        asked, progress=lambda *c: calls.append(c), on_plan=lambda s: calls.append(s.num_to_compute)
    )
    assert calls == [40, (32, 40), (40, 40)]


def test_a_full_disk_is_told_before_the_first_clip(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 90, 10))
    asked = extraction(make_corpus(tmp_path, train=3), tmp_path / "stores")
    with pytest.raises(StoreError, match=r"need about .* B, but .* has 10 B left"):
        build_store(asked)


def test_showing_a_store_and_a_clip(tmp_path):
    source = make_corpus(tmp_path, train=4, test=1)
    write_media(tmp_path, "train-3", "broken")
    store = build_store(extraction(source, tmp_path / "stores", max_dropped_share=0.5))
    text = shown(describe_store(store))
    for word in ("train", "test", "pose", "float16", "25", "dropped: broken 1", "train.tsv:5"):
        assert word in text
    clip = shown(describe_store(store, "train-1"))
    assert "Sentence train-1." in clip and "3 frames × 6, 0.12 s at 25 Hz" in clip
    with pytest.raises(InputError, match="no clip `nobody`; it has for example `train-0`"):
        describe_store(store, "nobody")
