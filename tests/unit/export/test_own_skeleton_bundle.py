"""Bundles of models whose skeleton is declared in the recipe, or stated by BVH files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bvh import write_bvh
from corpus import tiny_recipe
from kinect import POINTS, SKELETON, write_kinect_corpus
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import BundleError, ClipError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, Input, export_bundle
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration

STGCN = {"kind": "stgcn", "channels": 2, "blocks": 1, "kernel": 3}


def recipe_on(folder: Path, source: dict[str, Any], **changes: Any) -> Recipe:
    rows = (folder / "all.tsv").read_text().splitlines()
    for split, lines in (("train", rows[1:5]), ("validation", rows[5:7])):
        (folder / f"{split}.tsv").write_text("\n".join([rows[0], *lines]) + "\n")
        source = {**source, split: str(folder / f"{split}.tsv")}
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    plain["source"] = {"kind": "skeletons", "fps": 30, "motions": str(folder / "motions"), **source}
    plain["model"]["encoder"] = STGCN
    return validate_config(Recipe, {**plain, "features": {"kind": "skeleton"}, **changes}, "test")


def train(recipe: Recipe, folder: Path) -> Bundle:
    """Trains, exports and compares the bundle with its run; the bundle."""
    store, run = extract_locally(recipe), folder / "run"
    assert train_run(RunSpec(recipe, store.folder, run), NullRunLogger(), lambda _: True)
    bundle = export_bundle(run, folder / "bundle", store)
    assert compare_bundle_with_run(bundle, store, run) == 2
    return Bundle.load(bundle)


def test_an_array_is_read_as_the_recipe_declared(tmp_path: Path) -> None:
    write_kinect_corpus(tmp_path, words=6, signers=1, takes=1)
    declared = tmp_path / "mine.yaml"
    declared.write_text(str(SKELETON))  # a flow mapping is YAML
    recipe = recipe_on(
        tmp_path, {"skeleton": str(declared)}, batch={"augmentation": {"mirror": 0.5}}
    )
    bundle = train(recipe, tmp_path)
    declared.unlink()
    (text,) = bundle.translate([Input(tmp_path / "motions" / "s0_w1_0.npy")])
    assert isinstance(text, str)
    np.save(tmp_path / "nine.npy", np.zeros((5, 9, 3), np.float32))
    with pytest.raises(ClipError, match="`declared` must be"):
        bundle.translate([Input(tmp_path / "nine.npy")])
    assert len(POINTS) == 8


def test_a_bvh_file_is_translated(tmp_path: Path) -> None:
    (tmp_path / "motions").mkdir()
    rng = np.random.default_rng(0)
    rows = ["id\tmotion\ttext"]
    for number in range(6):
        write_bvh(tmp_path / "motions" / f"{number}.bvh", rng.uniform(-40, 40, (7, 15)))
        rows.append(f"c{number}\t{number}.bvh\tGo {number}.")
    (tmp_path / "all.tsv").write_text("\n".join(rows) + "\n")
    bundle = train(recipe_on(tmp_path, {}), tmp_path)
    other = write_bvh(tmp_path / "other.bvh", rng.uniform(-40, 40, (9, 15)))
    assert len(bundle.translate([Input(other)])) == 1
    other.write_text(other.read_text().replace("JOINT RightHand", "JOINT Tail"))
    with pytest.raises(BundleError, match="other points"):
        bundle.translate([Input(other)])
