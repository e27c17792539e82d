"""Where the embedder of references lies: made absolute, left out, and put into a bundle."""

from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError


def recipe_of(folder: Path, embedder: str | None) -> Recipe:
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    plain["source"] = {"kind": "skeletons", "train": "train.tsv", "fps": 20}
    on = {"on": "embeddings", "embedder": embedder} if embedder else {}
    plain["features"] = {"kind": "skeleton", "reference": on}
    return validate_config(Recipe, plain, "test")


def embedder_of(recipe: Recipe) -> str | None:
    assert recipe.features.kind == "skeleton" and recipe.features.reference is not None
    return recipe.features.reference.embedder


def test_the_embedder_s_folder(tmp_path: Path) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    recipe = recipe_of(tmp_path, "run/best")
    resolved = recipe.resolve_paths(tmp_path)
    assert embedder_of(resolved) == str(tmp_path / "run" / "best")
    assert embedder_of(resolved.to_portable()) == "best"
    assert str(tmp_path) not in resolved.to_portable().model_dump_json()
    bundled = resolved.to_portable().with_encoder_dir(tmp_path / "bundle" / "embedder")
    assert embedder_of(bundled) == str(tmp_path / "bundle" / "embedder")
    # The store's fingerprint stands for the network, so its place does not count.
    assert recipe.compute_config_hash("0") == resolved.compute_config_hash("0")


def test_without_an_embedder_there_is_nothing_to_place(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, None).resolve_paths(tmp_path)
    assert embedder_of(recipe.to_portable()) is None
    assert embedder_of(recipe.with_encoder_dir(tmp_path)) is None


def test_all_problems_have_their_place(tmp_path: Path) -> None:
    plain = recipe_of(tmp_path, None).model_dump(mode="json")
    plain["features"]["reference"] = {"method": "dwt"}
    with pytest.raises(ConfigError, match=r"features\.(skeleton\.)?reference\.method"):
        validate_config(Recipe, plain, "test")
