"""A bundle of a model of feature files: drops on the way, raw files in each format, a table."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus import tiny_recipe, tiny_store
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.units import Span
from kinesweep.export import Bundle, find_inputs
from kinesweep.export.bundle import export_bundle
from kinesweep.training.loop.run import RunSpec, train_run

WIDTH = 5


def write_corpus(folder: Path) -> dict[str, str]:
    """Twelve clips of train and two of validation, time last; split → table."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("validation", 2)):
        rows = ["signal\toutput"]
        for number in range(count):
            name = f"{split}{number}.{'pt' if number % 2 else 'npy'}"
            x_DT = rng.normal(size=(WIDTH, 6 + number)).astype(np.float32)
            if name.endswith(".pt"):
                torch.save(torch.from_numpy(x_DT), folder / name)
            else:
                np.save(folder / name, x_DT)
            rows.append(f"{name}\tThis is text {number % 3}.")
        (folder / f"{split}.tsv").write_text("\n".join([*rows, ""]))
    return {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}


def recipe_of(folder: Path, **store: float) -> Recipe:
    source = {"kind": "feature_tsv", "fps": 12.5, "time_axis": 1, "test": None}
    return tiny_recipe(
        folder,
        folder / "stores",
        source={**source, **write_corpus(folder)},
        features={"kind": "precomputed", "stride": 2},
        store=store,
        training={"max_steps": 1, "eval_steps": 1, "logging_steps": 1},
    )


def test_wrong_widths_and_missing_numbers_are_dropped(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, max_dropped_share=0.3)
    np.save(tmp_path / "train2.npy", np.ones((WIDTH + 1, 6), np.float32))
    np.save(tmp_path / "train4.npy", np.full((WIDTH, 6), np.nan, np.float32))
    store = tiny_store(recipe)
    assert store.manifest["dropped"]["reasons"] == {"nan_features": 1, "wrong_width": 1}
    schema = store.schema.streams["video"]
    assert (schema.width, schema.rate_hz) == (WIDTH, 6.25)
    assert [record.lengths["video"] for record in store.get_records("train")[:3]] == [3, 4, 5]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    folder = tmp_path_factory.mktemp("features")
    recipe = recipe_of(folder)
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    export_bundle(folder / "run", folder / "bundle", store)
    return folder, Bundle.load(folder / "bundle")


def test_raw_files_have_the_features_of_the_store(bundle: tuple[Path, Bundle]) -> None:
    folder, loaded = bundle
    for name in ("train0.npy", "train1.pt"):
        path = folder / name
        stored = torch.load(path).numpy() if name.endswith(".pt") else np.load(path)
        expected_TD = stored.T[::2].astype(np.float16)
        np.testing.assert_array_equal(loaded.compute_features(path)["video"], expected_TD)
    part = loaded.compute_features(folder / "train0.npy", Span.from_frames(0, 4))["video"]
    assert len(part) == 2


def test_files_folders_and_tables_are_translated(bundle: tuple[Path, Bundle]) -> None:
    folder, loaded = bundle
    (folder / "new.tsv").write_text("id\tsignal\tsignal_end\nx\ttrain0.npy\t240\ny\ttrain1.pt\t\n")
    source = loaded.loaded.recipe.corpora[0]
    named = find_inputs([folder / "new.tsv", folder / "train0.npy"], source)
    assert [name for name, _ in named] == ["x", "y", str(folder / "train0.npy")]
    texts = loaded.translate([item for _, item in named])
    assert len(texts) == 3
    assert json.loads((folder / "bundle/features.json").read_text())["streams"]["video"]
