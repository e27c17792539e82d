"""The two kinds of recipes that a sweep can tune: of a translation run and of a pretraining run.

The file of a pretraining recipe has a section `objective`, which the other kind does not know.
"""

from collections.abc import Mapping
from typing import Any

from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError

AnyRecipe = Recipe | PretrainingRecipe


def get_recipe_class(values: Mapping[str, Any]) -> type[AnyRecipe]:
    """Return the class of a recipe by its plain values."""
    # Not by `model.kind`, which both kinds of recipes may leave out.
    return PretrainingRecipe if "objective" in values else Recipe


def get_corpus_recipe(recipe: AnyRecipe) -> Recipe:
    """Return the recipe with which the features of a recipe are extracted and its runs tracked."""
    return recipe.corpus_recipe if isinstance(recipe, PretrainingRecipe) else recipe


def require_translation(recipe: AnyRecipe, command: str) -> Recipe:
    """Return the recipe of a translation run.

    Args:
        recipe: Recipe of any kind.
        command: Command that supports translation only, for the error.

    Raises:
        InputError: If the recipe is one of pretraining.
    """
    if isinstance(recipe, PretrainingRecipe):
        raise InputError(
            f"`{command}` measures training and decoding of translation runs, but the recipe"
            f" `{recipe.name}` is one of pretraining. Limit such a sweep with `search.trials` and"
            " `budget` instead"
        )
    return recipe
