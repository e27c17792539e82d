"""Stores of features that came from elsewhere: their bytes, and that validation is complete."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import StoreError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run

COUNTS = {"train": 6, "validation": 3}


def write_corpus(folder: Path, epochs: int = 2) -> None:
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        lines = ["video_name\tlength\tlabel"]
        for number in range(count):
            name = f"{split}{number:03d}"
            for epoch in range(epochs if split == "train" else 1):
                path = folder / f"features/{epoch}/{name[:5]}/{name}.pt"
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.save(torch.from_numpy(rng.normal(size=(6 + number, 8)).astype("f4")), path)
            lines.append(f"{name}\t{6 + number}\tText {number}.")
        (folder / "manifests").mkdir(exist_ok=True)
        (folder / f"manifests/{split}.tsv").write_text("\n".join(lines) + "\n")


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    plain = tiny_recipe(folder, folder / "stores", **changes).model_dump(mode="json")
    tables = {split: str(folder / f"manifests/{split}.tsv") for split in COUNTS}
    plain |= {
        "source": {"kind": "feature_manifest", **tables, "epochs": [0, 1]},
        "features": {"kind": "precomputed"},
    }
    return Recipe.model_validate(plain)


def test_every_copy_is_a_clip_and_trained_on(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    recipe = recipe_of(tmp_path, store={"dtype": "float32"})
    store = extract_locally(recipe)
    assert [len(store.get_records(split)) for split in store.splits] == [12, 3]
    for record in store.get_records("train"):
        name, _, epoch = record.clip.id.partition("@")
        path = tmp_path / f"features/{epoch or 0}/{name[:5]}/{name}.pt"
        np.testing.assert_array_equal(
            store.get_features(record)["video"], torch.load(path, weights_only=True).numpy()
        )
    result = train_run(
        RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
    )
    assert (result.status, result.step) == ("finished", 12)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_validation_is_complete_or_nothing_is_extracted(tmp_path: Path, damage: str) -> None:
    write_corpus(tmp_path)
    path = tmp_path / "features/0/valid/validation001.pt"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-200])
    whatever = {"max_dropped_share": 1.0}
    with pytest.raises(StoreError, match=r"1 of validation[\s\S]*validation001\.pt"):
        extract_locally(recipe_of(tmp_path, store=whatever))
    store = extract_locally(recipe_of(tmp_path, store={**whatever, "required_splits": []}))
    assert [record.clip.id for record in store.get_records("validation")] == [
        "validation000",
        "validation002",
    ]


def test_a_lost_clip_of_train_counts_for_the_share(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    (tmp_path / "features/1/train/train004.pt").unlink()
    with pytest.raises(StoreError, match=r"1 of 15 clips[\s\S]*missing_file.*train004\.pt"):
        extract_locally(recipe_of(tmp_path))
    store = extract_locally(recipe_of(tmp_path, store={"max_dropped_share": 0.1}))
    assert store.manifest["dropped"]["reasons"] == {"missing_file": 1}
