"""The two kinds of recipes that a sweep can tune: of a translation run and of a pretraining run.

The file of a pretraining recipe has a section `objective`, which the other kind does not know.
"""

from collections.abc import Mapping
from typing import Any

from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe

AnyRecipe = Recipe | PretrainingRecipe


def get_recipe_class(values: Mapping[str, Any]) -> type[AnyRecipe]:
    """Return the class of a recipe by its plain values."""
    return PretrainingRecipe if "objective" in values else Recipe
