"""The files of a model folder that describe a model, without its weights.

`recipe.yaml` holds the training recipe; `features.json` describes how the features of each clip
were computed. This module imports neither PyTorch nor transformers, which take seconds to load: a
command that only reads these files, or rejects a folder, responds immediately. `model_dir` reads
and writes complete model folders.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kinesweep.config.loading import read_yaml, validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.combined import RecipeFeaturesConfig
from kinesweep.config.recipe.paths import restore_estimator_root
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import read_json, write_text
from kinesweep.core.schema import StreamSchema

RECIPE_FILENAME = "recipe.yaml"
FEATURES_FILENAME = "features.json"


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a recipe to `recipe.yaml` in a model folder."""
    write_text(folder / RECIPE_FILENAME, format_recipe_yaml(recipe))


def format_recipe_yaml(recipe: Recipe) -> str:
    """Format a recipe as YAML text, with all fields in the order of the schema."""
    recipe_values = recipe.model_dump(mode="json")
    return str(yaml.safe_dump(recipe_values, sort_keys=False, allow_unicode=True))


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe from `recipe.yaml` in a model folder.

    Raises:
        ConfigError: If the file cannot be read or is not a valid recipe.
    """
    path = folder / RECIPE_FILENAME
    values = read_yaml(path)
    restore_estimator_root(values)
    return validate_config(Recipe, values, str(path))


def describe_features(
    features: RecipeFeaturesConfig,
    person: int,
    store_dtype: str,
    store_fingerprint: str,
    streams: Mapping[str, StreamSchema],
) -> dict[str, Any]:
    """Describe the features on which a model was trained, as plain values for `features.json`.

    Args:
        features: The `features` section, without folders of this machine.
        person: Index of the person whose pose is read from files with several people.
        store_dtype: Type in which the features were stored (`store.dtype`).
        store_fingerprint: Fingerprint of the feature store; empty if the store is not known.
        streams: Name of each feature stream → its schema.
    """
    return {
        "features": features.model_dump(mode="json"),
        "person": person,
        "store_dtype": store_dtype,
        "store_fingerprint": store_fingerprint,
        "streams": {name: stream.to_json() for name, stream in streams.items()},
    }


def check_model_folder(folder: Path) -> None:
    """Check that `config.json`, `recipe.yaml` and `features.json` of a model folder exist.

    The files are not read, and weights and tokenizer are not checked.

    Raises:
        CheckpointError: If one of the three files is missing.
    """
    required_names = ("config.json", RECIPE_FILENAME, FEATURES_FILENAME)
    missing_names = [name for name in required_names if not (folder / name).is_file()]
    if missing_names:
        raise CheckpointError(
            f"`{folder}` is not a model folder: {', '.join(missing_names)} missing. Give the `best`"
            " folder of a finished run, or an exported bundle"
        )


def read_feature_description(folder: Path) -> dict[str, Any]:
    """Read the description of the features from `features.json` in a model folder.

    Raises:
        CheckpointError: If the folder is not a model folder, or the file is damaged.
    """
    check_model_folder(folder)
    path = folder / FEATURES_FILENAME
    try:
        features = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}; copy the folder again") from None
    if not isinstance(features, dict):
        raise CheckpointError(f"`{path}` must hold an object, but holds {type(features).__name__}")
    return features
