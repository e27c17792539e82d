"""The files of a model folder that describe a model without its weights.

`recipe.yaml` holds the training recipe; `features.json` describes how the features of each clip
were computed. This module imports neither PyTorch nor transformers, which take seconds to load: a
command that only reads these files, or rejects a folder, responds immediately. `model_dir` reads
and writes complete model folders.
"""

from pathlib import Path
from typing import Any

import yaml

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import read_json, write_text
from kinesweep.store.format.reader import Store

RECIPE = "recipe.yaml"
FEATURES = "features.json"


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a recipe to `recipe.yaml` in a model folder."""
    write_text(folder / RECIPE, format_recipe_yaml(recipe))


def format_recipe_yaml(recipe: Recipe) -> str:
    """Format a recipe as YAML text."""
    recipe_values = recipe.model_dump(mode="json")
    return str(yaml.safe_dump(recipe_values, sort_keys=False, allow_unicode=True))


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe from `recipe.yaml` in a model folder."""
    return load_config(Recipe, folder / RECIPE)


def describe_features(recipe: Recipe, store: Store) -> dict[str, Any]:
    """Describe the features on which a model was trained, as plain values for `features.json`."""
    return {
        "features": recipe.to_portable().features.model_dump(mode="json"),
        "person": getattr(recipe.corpora[0], "person", 0),
        "store_dtype": recipe.store.dtype,
        "store_fingerprint": store.fingerprint,
        "streams": {name: stream.to_json() for name, stream in store.schema.streams.items()},
    }


def check_model_folder(folder: Path) -> None:
    """Check that the files of a model folder exist, without loading them.

    Raises:
        CheckpointError: If a file is missing.
    """
    missing = [n for n in ("config.json", RECIPE, FEATURES) if not (folder / n).is_file()]
    if missing:
        raise CheckpointError(
            f"`{folder}` is not a model folder: {', '.join(missing)} missing. Give the `best`"
            " folder of a finished run, or an exported bundle"
        )


def read_features(folder: Path) -> dict[str, Any]:
    """Return the content of `features.json`.

    Raises:
        CheckpointError: If the folder is not a model folder.
    """
    check_model_folder(folder)
    features: dict[str, Any] = read_json(folder / FEATURES)
    return features
