"""Inputs of the commands: recipes and model folders, found by path, and sweeps, found by name."""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.paths import get_state_dir
from kinesweep.evaluation.wordnet import check_wordnet_folder


def load_recipe(
    path: Path, overrides: Sequence[str] | None, base_dir: Path | None = None
) -> Recipe:
    """Read a recipe, make its paths absolute and check that the files of its metrics exist.

    Args:
        path: YAML file.
        overrides: Overrides such as `training.learning_rate=1e-4`.
        base_dir: Folder that relative paths start from; None: the current folder.

    Raises:
        ConfigError: If the recipe is invalid; lists every problem.
        CheckpointError: If `model.init_from` is not a model folder.
        InputError: If a metric needs WordNet and it is not where the recipe says.
    """
    folder = (base_dir or Path.cwd()).absolute()
    recipe = load_config(Recipe, path, overrides or (), folder).resolve_paths(folder)
    check_wordnet_folder(recipe.evaluation)
    return recipe


def find_sweep_dir(name: str) -> Path:
    """Find the folder of a sweep in the state folder by its name.

    Raises:
        InputError: If there is no sweep of this name.
    """
    folder = get_state_dir() / "sweeps" / name
    if not folder.is_dir():
        existing_names = sorted(path.name for path in folder.parent.glob("*")) or ["none"]
        raise InputError(
            f"there is no sweep `{name}`; existing sweeps: {', '.join(existing_names)}"
        )
    return folder


def resolve_model_dir(path: Path) -> Path:
    """Return the model folder of a path: the folder `best` of a run, otherwise the path itself.

    Whether the folder contains a model is not checked.

    Args:
        path: Folder of a run, a model or a bundle.
    """
    return path / "best" if (path / "best").is_dir() else path
