"""Inputs of the commands: recipes, model folders and sweeps, found by path or name."""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.paths import get_state_dir
from kinesweep.evaluation.wordnet import check_metric_files


def load_recipe(path: Path, overrides: Sequence[str] | None, base: Path | None = None) -> Recipe:
    """Read a recipe and make its paths absolute.

    Args:
        path: YAML file.
        overrides: Overrides such as `training.learning_rate=1e-4`.
        base: Folder that relative paths start from; None: the current folder.

    Raises:
        ConfigError: If the recipe is invalid; lists every problem.
        InputError: If a metric needs WordNet and it is not where the recipe says.
    """
    recipe = load_config(Recipe, path, overrides or ()).resolve_paths(
        (base or Path.cwd()).absolute()
    )
    check_metric_files(recipe.evaluation)
    return recipe


def find_sweep_dir(name: str) -> Path:
    """Find the folder of a sweep by its name.

    Raises:
        InputError: If there is no sweep of this name.
    """
    folder = get_state_dir() / "sweeps" / name
    if not folder.is_dir():
        existing = sorted(path.name for path in folder.parent.glob("*")) or ["none"]
        raise InputError(f"there is no sweep `{name}`; existing sweeps: {', '.join(existing)}")
    return folder


def resolve_model_dir(path: Path) -> Path:
    """Resolve a path to a model folder: `best` of a run; a model or bundle is returned itself."""
    return path / "best" if (path / "best").is_dir() else path
