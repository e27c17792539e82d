"""A damaged store is never taken for a whole one."""

import json

import pytest
from fake_corpus import extraction, make_corpus

from kinesweep.core.errors import StoreError
from kinesweep.store import open_store
from kinesweep.store.extraction.build import build_store
from kinesweep.store.inspect.checks import verify_store


@pytest.fixture
def store(tmp_path):
    return build_store(extraction(make_corpus(tmp_path, train=3, test=1), tmp_path / "stores"))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_truncated_shard_is_found_when_the_store_is_opened(store):
    shard = store.folder / "shards/train-00000.arrow"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(StoreError, match=rf"train-00000.*should have {size} bytes"):
        open_store(store.folder)


def test_a_missing_shard_is_found_when_the_store_is_opened(store):
    (store.folder / "shards/test-00000.arrow").unlink()
    with pytest.raises(StoreError, match=r"test-00000.*is missing"):
        open_store(store.folder)


def test_a_flipped_bit_of_a_shard_is_found_by_verify(store):
    data = store.get_features(store.get_records("train")[1])["pose"].tobytes()
    shard = store.folder / "shards/train-00000.arrow"
    flip(shard, shard.read_bytes().find(data))
    with pytest.raises(StoreError, match=r"train-00000\.arrow`: its SHA-256 is wrong"):
        verify_store(open_store(store.folder))


def test_a_flipped_bit_of_the_index_is_found_when_the_store_is_opened(store):
    flip(store.folder / "index.arrow", 500)
    with pytest.raises(StoreError, match=r"index\.arrow.*SHA-256"):
        open_store(store.folder)


def test_a_changed_manifest_is_found_when_the_store_is_opened(store):
    path = store.folder / "manifest.json"
    path.write_text(path.read_text().replace('"width": 6', '"width": 5'))
    with pytest.raises(StoreError, match="checksum"):
        open_store(store.folder)


def test_a_torn_manifest_is_found_when_the_store_is_opened(store):
    path = store.folder / "manifest.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(StoreError, match="damaged"):
        open_store(store.folder)


def test_a_shard_that_is_no_arrow_file_is_an_error_of_ours(store):
    shard = store.folder / "shards/train-00000.arrow"
    shard.write_bytes(b"x" * shard.stat().st_size)
    again = open_store(store.folder)
    with pytest.raises(StoreError, match="damaged"):
        again.get_features(again.get_records("train")[0])


def test_another_format_is_named(store):
    path = store.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(StoreError, match="of format 99, but this version reads format 2"):
        open_store(store.folder)


def test_a_folder_without_a_store_says_what_to_run(tmp_path):
    with pytest.raises(StoreError, match="run `kinesweep extract`"):
        open_store(tmp_path)


def test_extraction_does_not_hand_out_a_damaged_store(tmp_path, store):
    (store.folder / "shards/test-00000.arrow").unlink()
    with pytest.raises(StoreError, match="Remove the store's folder and extract again"):
        build_store(extraction(make_corpus(tmp_path, train=3, test=1), tmp_path / "stores"))
