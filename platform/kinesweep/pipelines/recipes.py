"""Loading of recipes for commands: paths made absolute, metrics checked."""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.config.loading import load
from kinesweep.config.recipe import Recipe
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
