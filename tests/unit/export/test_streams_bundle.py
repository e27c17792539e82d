"""A bundle of a model of several streams: one file of a clip gives the text of the evaluation."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import BundleError, ClipError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.units import Span
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import Bundle, Input, export_bundle, find_inputs
from kinesweep.export.pyfunc_model import _load_pyfunc
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from shards import h5_corpus

pytestmark = pytest.mark.integration

STREAMS = ("dino", "sign2vec")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("streams")
    return extract_locally(recipe_of(folder))


@pytest.fixture(scope="module")
def bundle(store: Store) -> Path:
    folder = store.folder.parents[1]
    run = folder / "run"
    train_run(RunSpec(recipe_of(folder), store.folder, run), NullRunLogger(), lambda _: True)
    return export_bundle(run, folder / "bundle", store)


def recipe_of(folder: Path) -> Recipe:
    training = {"learning_rate": 1e-2, "max_steps": 60, "eval_steps": 30}
    plain = tiny_recipe(folder, folder / "stores", training=training).model_dump(mode="json")
    plain["source"] = h5_corpus(folder)
    plain["features"] = {"kind": "streams", "streams": list(STREAMS)}
    return validate_config(Recipe, plain, "test")


def test_a_bundle_is_compared_with_the_clips_of_the_shards(store: Store, bundle: Path) -> None:
    """One stream beside the first, and two: what lies beside a clip's shard are no poses."""
    folder = store.folder.parents[1]
    assert compare_bundle_with_run(bundle, store, folder / "run") == len(
        store.get_records("validation")
    )


def test_other_features_in_the_shards_are_seen(store: Store, bundle: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(store.folder.parents[1] / "run", run)
    plain = yaml.safe_load((run / "best" / "recipe.yaml").read_text())
    other = h5_corpus(tmp_path / "corpus", seed=1)
    plain["source"] |= {split: other[split] for split in ("train", "validation")}
    (run / "best" / "recipe.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(BundleError, match="computes other features of `dev_video0/clip_00`"):
        compare_bundle_with_run(bundle, store, run)


def write_clip(store: Store, number: int, path: Path) -> Path:
    """A clip of validation as a file of its own."""
    with h5py.File(path, "w") as file:
        for name, x_TD in store.get_features(store.get_records("validation")[number]).items():
            file[name] = x_TD
    return path


def test_files_of_clips_give_the_text_of_the_evaluation(
    store: Store, bundle: Path, tmp_path: Path
) -> None:
    wanted = [line.hypothesis for line in read_predictions(bundle / "predictions.tsv")]
    files = [write_clip(store, number, tmp_path / f"{number}.h5") for number in range(len(wanted))]
    loaded = Bundle.load(bundle)
    found = [item for _, item in find_inputs([tmp_path], loaded.loaded.recipe.corpora[0])]
    assert [item.file for item in found] == files
    assert loaded.translate(found) == wanted and len(set(wanted)) > 1
    for record, file in zip(store.get_records("validation"), files, strict=True):
        for name, x_TD in loaded.compute_features(file).items():
            np.testing.assert_array_equal(x_TD, store.get_features(record)[name])


def test_what_is_wrong_with_a_file_is_named(store: Store, bundle: Path, tmp_path: Path) -> None:
    loaded = Bundle.load(bundle)
    file = write_clip(store, 0, tmp_path / "clip.h5")
    with pytest.raises(InputError, match="translated only as a whole"):
        loaded.translate([Input(file, Span.from_ms(0, 100))])
    with pytest.raises(InputError, match=r"translates `\.h5` files with one dataset per"):
        loaded.translate([tmp_path / "clip.pose"])
    with pytest.raises(InputError, match=r"is a table"):
        (tmp_path / "rows.tsv").touch()
        find_inputs([tmp_path / "rows.tsv"], loaded.loaded.recipe.corpora[0])
    with h5py.File(file, "a") as shard:
        del shard["sign2vec"]
    with pytest.raises(ClipError, match=r"no data set `sign2vec`.*clip\.h5"):
        loaded.translate([file])
    with h5py.File(file, "a") as shard:
        shard["sign2vec"] = np.ones((3, 5), np.float16)
    with pytest.raises(BundleError, match=r"has 5 features per frame of `sign2vec`.* expects 6"):
        loaded.translate([file])


def test_it_is_served_from_files_and_from_numbers(
    store: Store, bundle: Path, tmp_path: Path
) -> None:
    served = _load_pyfunc(str(bundle))
    wanted = [line.hypothesis for line in read_predictions(bundle / "predictions.tsv")][:2]
    assert all(name in (bundle / "MLmodel").read_text() for name in ("shard", "features_dino"))
    content = write_clip(store, 0, tmp_path / "clip.h5").read_bytes()
    numbers = store.get_features(store.get_records("validation")[1])
    row = {f"features_{name}": numbers[name].tolist() for name in STREAMS}
    answers = served.predict(pd.DataFrame([{"shard": content}, row]))
    assert [answer["text"] for answer in answers] == wanted
    with pytest.raises(InputError, match=r"`shard` .bytes. or `features_dino` with `features_sign"):
        served.predict(pd.DataFrame([{"features_dino": row["features_dino"]}]))
    with pytest.raises(InputError, match=r"`features_dino` must be frames × 12"):
        served.predict(pd.DataFrame([{**row, "features_dino": [[1.0, 2.0]]}]))
