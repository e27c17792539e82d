"""Search spaces over folds: what can be searched if all folds try the same configurations."""

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from kinesweep.sweeps.space.space import FIXED_DESIGN_KINDS, SearchSpace


def check_fold_search(space: SearchSpace, recipe: AnyRecipe) -> Recipe:
    """Check that a search space can be searched over folds, and return its recipe.

    Raises:
        ConfigError: If configurations depend on results or are stopped early, so that folds would
            try different ones, or if the recipe is one of pretraining.
    """
    problems = []
    if space.search.kind not in FIXED_DESIGN_KINDS:
        kinds = ", ".join(f"`{kind}`" for kind in sorted(FIXED_DESIGN_KINDS))
        text = f"must be one of {kinds} over folds, which try the same list"
        problems.append(("search.kind", f"{text}, but is `{space.search.kind}`"))
    if space.pruner.kind != "none":
        text = f"must be `none` over folds, but is `{space.pruner.kind}`: stopped trials have no"
        problems.append(("pruner.kind", f"{text} score to average"))
    if not isinstance(recipe, Recipe):
        problems.append(("recipe", "must train a translation model; pretraining has no folds"))
    if problems or not isinstance(recipe, Recipe):
        raise ConfigError("the search space", problems)
    return recipe
