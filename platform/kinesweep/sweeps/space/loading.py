"""Loading of a search space with its recipe, and validation of each against the other.

Every parameter name is looked up in the recipe's schema, and every range end and choice is
validated against it before the first trial, so that a misspelt parameter is never searched.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinesweep.config.loading import read_yaml, set_by_path, suggest_alternative, validate
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.hashing import flatten
from kinesweep.evaluation.wordnet import check_metrics
from kinesweep.sweeps.space.arms import ordered
from kinesweep.sweeps.space.parameter import SEED, Parameter, Values
from kinesweep.sweeps.space.space import MINIMISED, SearchSpace

FEATURES = "features."
"""Prefix of keys that change the features, so each value needs its own feature store."""
_NOT_SEARCHED = ("source.", "store.", "evaluation.", "resources.", "checkpoints.")
_NOT_SWEPT = frozenset({"name", "tracking", "batch.ablation"})
_FREE = "model.backbone.scratch."
"""Prefix of keys of a Hugging Face configuration, which the recipe's schema does not know."""


def load_space(path: Path, overrides: Sequence[str], base: Path) -> tuple[SearchSpace, Recipe]:
    """Load a search space and its recipe, and check them.

    Args:
        path: File of the search space.
        overrides: Overrides `key.sub=value`; those that begin with `recipe.` apply to the recipe.
        base: Folder to which the recipe's paths are relative.

    Raises:
        ConfigError: If the space or the recipe is invalid; lists all problems.
        InputError: If METEOR needs WordNet and the recipe's folder does not hold it.
    """
    own = [item for item in overrides if not item.startswith("recipe.")]
    for_recipe = [item.removeprefix("recipe.") for item in overrides if item.startswith("recipe.")]
    space = validate(SearchSpace, read_yaml(path, own), str(path))
    file = path.parent / space.recipe
    recipe = validate(Recipe, read_yaml(file, for_recipe), str(file))
    # All runs of a sweep use the resources of the space, which also determine the slots.
    recipe = recipe.model_copy(update={"resources": space.resources}).resolved(base)
    problems = [*_metric_problems(space, recipe), *_parameter_problems(space, recipe)]
    if problems:
        raise ConfigError(str(path), problems)
    check_metrics(recipe.evaluation)
    return space, recipe


def apply_overrides(recipe: Recipe, values: Values) -> Recipe:
    """Return the recipe with swept values set; a new `kind` starts from its own defaults.

    Args:
        recipe: Recipe to change.
        values: Dotted recipe key → value; applied in order.

    Raises:
        ConfigError: If a value is not allowed.
    """
    plain: dict[str, Any] = recipe.model_dump(mode="json")
    for path, value in values.items():
        parent, _, key = path.rpartition(".")
        if key == "kind" and flatten(plain).get(path) != value:
            # Sibling keys belong to the schema of the old kind and may be unknown to the new one.
            set_by_path(plain, parent, {"kind": value})
        else:
            set_by_path(plain, path, value)
    return validate(Recipe, plain, f"trial of {recipe.name}")


def _metric_problems(space: SearchSpace, recipe: Recipe) -> list[tuple[str, str]]:
    """Find objectives and pruning metrics that the recipe does not evaluate."""
    asked = {"metric.name": [m.name for m in space.objectives if m.name not in MINIMISED]}
    if space.pruner.metric != "token_loss":
        asked["pruner.metric"] = [space.pruner.metric]
    return [
        (key, f"`{name}` is not in the recipe's `evaluation.metrics`")
        for key, names in asked.items()
        for name in names
        if name not in recipe.evaluation.metrics
    ]


def _parameter_problems(space: SearchSpace, recipe: Recipe) -> list[tuple[str, str]]:
    """Find problems of all parameters: names, values, roles and conditions."""
    # A cycle is reported alone: `_context` would recurse without end.
    try:
        ordered(space.parameters)
    except InputError as error:
        return [("parameters", str(error))]
    return [
        (f"parameters.{name}", text)
        for name, parameter in space.parameters.items()
        for text in _problems(name, parameter, space, recipe)
    ]


def _problems(name: str, parameter: Parameter, space: SearchSpace, recipe: Recipe) -> list[str]:
    """Find problems of one parameter, as error messages without its name."""
    if parameter.role == "noise" or name == SEED:
        return _noise_problems(name, parameter)
    if name.startswith(_NOT_SEARCHED) or name in _NOT_SWEPT:
        return ["cannot be searched: trials of one sweep share data, scoring, resources and seeds"]
    if name.startswith(FEATURES) and parameter.choices is None:
        return ["needs `choices`: the features of every value are extracted before the search"]
    try:
        # Which keys exist depends on `kind`s, so names are looked up under their condition.
        context = _context(name, space)
        known = flatten(apply_overrides(recipe, context).model_dump(mode="json"))
    except InputError as error:
        problems = error.problems if isinstance(error, ConfigError) else [("", str(error))]
        return [f"its condition never holds: {f'{key} {text}'.strip()}" for key, text in problems]
    if name not in known and not name.startswith(_FREE):
        return [f"is not a key of the recipe{suggest_alternative(name, list(known))}"]
    found = []
    for value in parameter.edges:
        try:
            apply_overrides(recipe, {**context, name: value})
        except ConfigError as error:
            found += [f"{value!r}: {text}" for _, text in error.problems]
    # All choices of one list may fail for the same reason, which is reported once.
    return list(dict.fromkeys(found))


def _noise_problems(name: str, parameter: Parameter) -> list[str]:
    """Find problems of noise parameters: only the seed can be noise, and nothing else."""
    if name != SEED:
        return [f"only `{SEED}` can be noise"]
    if parameter.role != "noise":
        return [f"cannot be searched, because scores vary by seed; set `{SEED}` to `role: noise`"]
    # `bool` is a subclass of `int` in Python.
    bad = [c for c in parameter.choices or () if not isinstance(c, int) or isinstance(c, bool)]
    if bad or len(parameter.choices or ()) < 2:
        return ["needs at least two seeds, all of them integers"]
    return []


def _context(name: str, space: SearchSpace) -> Values:
    """Return values under which a parameter applies, with those of its conditions' conditions.

    Raises:
        InputError: If a condition requires a value that its parameter never has.
    """
    context: Values = {}
    for key, wanted in space.parameters[name].when.items():
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        other = space.parameters.get(key)
        if other is not None:
            levels = other.levels
            if levels is not None and not any(value in levels for value in allowed):
                raise InputError(f"`{key}` never has the value {', '.join(map(repr, allowed))}")
            context |= _context(key, space)
        # Of several allowed values the first stands for all.
        context[key] = allowed[0]
    return context
