"""The setting `tracking`: one tracker, several, or none; never part of a configuration's hash."""

from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, Any]:
    return tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")


@pytest.mark.parametrize(
    "choice", ["auto", "mlflow", "wandb", "tensorboard", "none", ["tensorboard", "mlflow"]]
)
def test_choices_do_not_change_the_hash(plain: dict[str, Any], choice: Any) -> None:
    recipe = Recipe.model_validate({**plain, "tracking": choice})
    assert recipe.compute_config_hash("s") == Recipe(**plain).compute_config_hash("s")
    assert recipe.model_dump(mode="json")["tracking"] == choice
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("wanb", "must be one of auto, mlflow, wandb, tensorboard, none, or a list"),
        (["mlflow", "none"], "must be a list of some of mlflow, wandb, tensorboard"),
        ([], "must be a list of some of"),
        (["wandb", "wandb"], "must name each tracker once"),
        (3, "must be one of"),
    ],
)
def test_other_values_are_one_problem(plain: dict[str, Any], choice: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        validate_config(Recipe, {**plain, "tracking": choice}, "recipe.yaml")
    assert "1 problem in recipe.yaml" in str(refused.value)
