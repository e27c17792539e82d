"""Stores of clips with references: both streams, frame for frame, computed once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kinesweep.config.recipe import Recipe
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.format.reader import Store
from kinesweep.store.inspect.show import describe_self_comparisons, describe_store
from skeletons import motions, skeleton_recipe, write_pack


def with_references(folder: Path, **reference: Any) -> Recipe:
    return skeleton_recipe(folder, features={"kind": "skeleton", "reference": reference})


def streams(store: Store) -> dict[str, dict[str, np.ndarray]]:
    return {
        r.clip.id: store.get_features(r) for split in store.splits for r in store.get_records(split)
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pack(tmp_path / "all.npz", motions(8))
    return tmp_path


@pytest.mark.parametrize("method", ["window", "dtw", "soft_dtw", "none"])
def test_each_clip_has_its_reference_frame_for_frame(folder: Path, method: str) -> None:
    store = extract_locally(with_references(folder, method=method))
    assert list(store.schema.streams) == ["pose", "reference"]
    assert store.schema.streams["reference"] == store.schema.streams["pose"]
    for name, found in streams(store).items():
        assert found["pose"].shape == found["reference"].shape
        own = np.array_equal(found["pose"], found["reference"])
        assert own == (name in ("t0", "v1")), name


def test_a_second_extraction_computes_nothing(folder: Path) -> None:
    recipe = with_references(folder)
    first, again = extract_locally(recipe), extract_locally(recipe)
    assert (first.extraction.computed, first.extraction.reused) == (8, 0)
    assert (again.extraction.computed, again.extraction.reused) == (0, 8)
    assert again.folder == first.folder


def test_another_alignment_is_another_store(folder: Path) -> None:
    choices = [{"method": "dtw"}, {"method": "window"}, {"method": "soft_dtw"}]
    choices.append({"method": "soft_dtw", "gamma": 0.5})
    stores = [extract_locally(with_references(folder, **choice)) for choice in choices]
    stores.append(extract_locally(skeleton_recipe(folder)))
    assert len({store.fingerprint for store in stores}) == 5
    assert all(store.extraction.computed == 8 for store in stores)


def test_a_changed_reference_computes_those_that_are_compared_with_it(tmp_path: Path) -> None:
    stored = motions(8)
    write_pack(tmp_path / "all.npz", stored)
    recipe = with_references(tmp_path)
    before = extract_locally(recipe)
    stored[1][-1, 5, 0] += 1
    write_pack(tmp_path / "all.npz", stored)
    after = extract_locally(recipe)
    assert (after.extraction.computed, after.extraction.reused) == (2, 6)
    old, new = streams(before), streams(after)
    np.testing.assert_array_equal(old["v0"]["pose"], new["v0"]["pose"])
    assert not np.array_equal(old["v0"]["reference"], new["v0"]["reference"])


def test_clips_without_a_reference_are_counted(folder: Path) -> None:
    store = extract_locally(with_references(folder))
    assert store.self_comparison_counts == {"train": 1, "validation": 1}
    console = Console(width=200, record=True, file=(folder / "shown").open("w"))
    console.print(describe_store(store))
    line = "clips without a reference, compared with themselves: train 1 of 6, validation 1 of 2"
    assert line in console.export_text()
    plain = extract_locally(skeleton_recipe(folder))
    assert plain.self_comparison_counts == {} and describe_self_comparisons(plain) == ""
