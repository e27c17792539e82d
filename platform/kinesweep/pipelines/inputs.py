"""What people name on the command line: recipes, model folders, sweeps."""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.config.loading import load
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.paths import state_home
from kinesweep.evaluation.wordnet import check_metrics


def load_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Read a recipe and make its paths absolute, starting from the current folder.

    Raises:
        ConfigError: If the recipe is invalid; lists every problem.
        InputError: If a metric needs WordNet and it is not where the recipe says.
    """
    recipe = load(Recipe, path, overrides or ()).resolved(Path.cwd())
    check_metrics(recipe.evaluation)
    return recipe


def sweep_folder(name: str) -> Path:
    """Return the folder of a sweep.

    Raises:
        InputError: If there is no sweep of this name.
    """
    folder = state_home() / "sweeps" / name
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("*")) or ["none"]
        raise InputError(f"there is no sweep `{name}`; existing sweeps: {', '.join(there)}")
    return folder


def model_folder(place: Path) -> Path:
    """Return the model folder of a run, or the folder itself for a model or a bundle."""
    return place / "best" if (place / "best").is_dir() else place
