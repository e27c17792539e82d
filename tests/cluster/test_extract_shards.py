"""Shards of several streams on Ray Data: the bytes of a local extraction."""

from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.extract import extract_on_ray
from shards import h5_corpus

pytestmark = pytest.mark.slow


def recipe_of(corpus: Path, root: Path) -> Recipe:
    counts = {"train": 12, "dev": 6}
    source = h5_corpus(corpus, documents=counts, shards=5)
    recipe = tiny_recipe(corpus, root)
    plain = recipe.model_dump(mode="json")
    plain |= {"source": source, "features": {"kind": "streams"}}
    return Recipe.model_validate(plain)


def test_ray_gives_the_same_bytes(tmp_path: Path, cluster: None) -> None:
    recipe = recipe_of(tmp_path / "h5", tmp_path / "a")
    told: list[tuple[int, int]] = []
    on_ray = extract_on_ray(recipe, progress=lambda *done: told.append(done))
    assert len(told) > 1 and told[-1][0] == told[-1][1]
    here = extract_locally(recipe, root=tmp_path / "b")
    assert sum(len(on_ray.get_records(split)) for split in on_ray.splits) == 63
    assert compute_file_hashes(on_ray.folder) == compute_file_hashes(here.folder)
    assert on_ray.fingerprint == here.fingerprint
    again = extract_on_ray(recipe)
    assert again.extraction is not None
    assert (again.extraction.computed, again.extraction.reused) == (0, 63)
