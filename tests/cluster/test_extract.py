"""Extraction on Ray Data: the bytes of a local one, bad clips counted, unchanged ones reused."""

from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe
from frames import frames_recipe
from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.extract import extract_on_ray
from kinesweep.store.inspect.checks import verify_store
from vision import film_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tiny_corpus(tmp_path, clips=80)


def test_ray_gives_the_same_bytes(corpus: Path, tmp_path: Path, cluster: None) -> None:
    told: list[tuple[int, int]] = []
    on_ray = extract_on_ray(tiny_recipe(corpus, tmp_path / "a"), progress=lambda *x: told.append(x))
    here = extract_locally(tiny_recipe(corpus, tmp_path / "b"))
    assert compute_file_hashes(on_ray.folder) == compute_file_hashes(here.folder)
    assert on_ray.fingerprint == here.fingerprint
    assert told[-1][0] == told[-1][1]
    again = extract_on_ray(tiny_recipe(corpus, tmp_path / "a"))
    assert again.folder == on_ray.folder
    assert again.extraction is not None
    assert (again.extraction.computed, again.extraction.reused) == (0, 80)


def test_frames_on_ray_are_those_of_a_local_extraction(tmp_path: Path, cluster: None) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=4, validation=1)
    for storage in ("decoded", "video"):
        on_ray = extract_on_ray(frames_recipe(corpus, tmp_path / "a", storage))
        here = extract_locally(frames_recipe(corpus, tmp_path / "b", storage))
        assert compute_file_hashes(on_ray.folder) == compute_file_hashes(here.folder)
        assert on_ray.schema == here.schema
        verify_store(on_ray)


def test_a_bad_clip_costs_itself_alone(corpus: Path, tmp_path: Path, cluster: None) -> None:
    bad = sorted((corpus / "poses" / "train").glob("*.pose"))[2]
    bad.write_bytes(bad.read_bytes()[:-50])
    with pytest.raises(StoreError, match="truncated"):
        extract_on_ray(tiny_recipe(corpus, tmp_path / "a"))
    assert not list((tmp_path / "a").glob("*/manifest.json"))
    lenient = tiny_recipe(corpus, tmp_path / "a", store={"max_dropped_share": 0.05})
    store = extract_on_ray(lenient)
    assert store.manifest["dropped"]["reasons"] == {"truncated": 1}
    assert sum(len(store.get_records(split)) for split in store.splits) == 79
