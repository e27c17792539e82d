"""Features are searched like any other choice: each extracted once, each trial on its own."""

import json
import shutil
from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints.model_dir_files import read_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError, StoreError
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.sweeps.feature_stores import extract_all_features
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.sweep import Sweep, run_sweep
from sweeping import RATE, Here, OpenTimed

pytestmark = pytest.mark.integration

ESTIMATOR = "features.estimator"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Poses by two estimators, one of which sees the same in every clip of a split."""
    corpus = tiny_corpus(tmp_path)
    for name in ("seeing", "blind"):
        shutil.copytree(corpus / "poses", tmp_path / f"by/{name}/poses")
    for split in sorted((tmp_path / "by/blind/poses").iterdir()):
        first, *others = sorted(split.glob("*.pose"))
        for path in others:
            shutil.copyfile(first, path)
    made = tiny_recipe(corpus, tmp_path / "stores", training={"max_steps": 4, "eval_steps": 4})
    plain = made.model_dump(mode="json")
    plain["source"]["root"] = str(tmp_path / "by/{estimator}")
    plain["features"]["estimator"] = "seeing"
    return validate_config(Recipe, plain, "two estimators")


def space(**parameters: object) -> SearchSpace:
    plain = {
        "question": "Whose poses?",
        "recipe": "tiny.yaml",
        "search": {"kind": "grid"},
        "pruner": {"kind": "none"},
        "finalists": {"count": 1, "seeds": [1, 2]},
        "baseline": False,
        "parameters": parameters
        or {ESTIMATOR: {"choices": ["seeing", "blind"], "role": "scientific"}},
    }
    return validate_config(SearchSpace, plain, "the space")


def test_each_estimator_is_extracted_once_and_compared(recipe: Recipe, tmp_path: Path) -> None:
    extracted: list[str] = []

    def extract(asked: Recipe) -> Store:
        extracted.append(str(asked.features.estimator))
        return extract_locally(asked)

    asked = space()
    stores = extract_all_features(asked, recipe, extract)
    assert sorted(extracted) == ["blind", "seeing"]
    assert len(stores.fingerprints) == 2 and stores.base is stores.get_store(recipe.features)
    log = OpenTimed(tmp_path / "times")
    sweep = Sweep(asked, recipe, stores, tmp_path / "sweep", log, print, Here)
    outcome = run_sweep(sweep)
    assert sorted(outcome.levels.values()) == [f"estimator={name}" for name in ("blind", "seeing")]
    assert {tuple(line.scores) for line in outcome.ranking} == {(1, 2)}, "the same seeds"
    used = {}
    for folder in sorted((sweep.folder / "runs").glob("*/best")):
        own = read_recipe(folder)
        features = json.loads((folder / "features.json").read_text())
        used[own.features.estimator] = features["store_fingerprint"]
    assert used == {
        name: stores.get_store(
            validate_config(Recipe, _with(recipe, name), "").features
        ).fingerprint
        for name in ("seeing", "blind")
    }


def _with(recipe: Recipe, estimator: str) -> dict[str, object]:
    plain = recipe.model_dump(mode="json")
    plain["features"]["estimator"] = estimator
    return plain


def test_other_sentences_are_not_compared(recipe: Recipe, tmp_path: Path) -> None:
    (clip, *_) = sorted((tmp_path / "by/blind/poses/validation").glob("*.pose"))
    clip.unlink()
    loose = recipe.model_copy(
        update={"store": recipe.store.model_copy(update={"max_dropped_share": 0.5})}
    )
    with pytest.raises(StoreError, match=f"1 are in only one of them, such as `{clip.stem}"):
        extract_all_features(space(), loose, extract_locally)


def test_limits_count_the_frames_that_features_have(recipe: Recipe) -> None:
    strides = {"features.stride": {"choices": [2, 3]}}
    assert len(extract_all_features(space(**strides), recipe, extract_locally).fingerprints) == 2
    batch = recipe.batch.model_copy(update={"max_clip_frames": 10})
    with pytest.raises(StoreError, match="have different clips in validation"):
        extract_all_features(
            space(**strides), recipe.model_copy(update={"batch": batch}), extract_locally
        )


def test_what_the_recipe_must_say(recipe: Recipe, tmp_path: Path) -> None:
    roots = (recipe.source.root, "poses", None)
    for estimator, root in ((None, roots[0]), ("seeing", roots[1]), ("seeing", roots[2])):
        plain = recipe.model_dump(mode="json")
        plain["features"]["estimator"], plain["source"]["root"] = estimator, root
        with pytest.raises(ConfigError, match="belong together"):
            validate_config(Recipe, plain, "")
    # No folder of this machine, and still valid; bundles of earlier versions had no root at all.
    portable = recipe.to_portable()
    assert portable.source.root == "{estimator}"
    plain = portable.model_dump(mode="json")
    plain["source"]["root"] = None
    (tmp_path / "recipe.yaml").write_text(json.dumps(plain))
    assert read_recipe(tmp_path) == portable
    assert str(recipe.effective_source.root).endswith("by/seeing")


def test_features_need_choices(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(recipe.model_dump_json())
    wanted = {
        "features.stride": {"int": [1, 3]},
        RATE: {"log": [1e-4, 1e-3]},
    }
    plain = space(**{RATE: {"choices": [1e-3]}}).model_dump(mode="json", by_alias=True)
    plain |= {"parameters": wanted, "search": {"kind": "random", "trials": 2}}
    (tmp_path / "space.yaml").write_text(
        validate_config(SearchSpace, plain, "").model_dump_json(by_alias=True)
    )
    with pytest.raises(ConfigError, match=r"features\.stride.*needs `choices`"):
        load_space(tmp_path / "space.yaml", [], tmp_path)
