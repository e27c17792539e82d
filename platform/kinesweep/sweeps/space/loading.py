"""Loading of a search space with its recipe, and validation of each against the other.

Every parameter name is looked up in the recipe's schema, and every range end and choice is
validated against it before the first trial, so that a misspelt parameter is never searched.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from kinesweep.config.any_recipe import AnyRecipe, get_recipe_class
from kinesweep.config.loading import (
    find_replaced_keys,
    read_yaml,
    set_by_path,
    validate_config,
)
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.suggestions import format_unknown_key_hint
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.hashing import flatten_mapping
from kinesweep.evaluation.wordnet import check_wordnet_folder
from kinesweep.sweeps.space.arms import sort_topologically
from kinesweep.sweeps.space.directions import find_metric_problems, set_directions
from kinesweep.sweeps.space.parameter import SEED, SearchParameter, Values
from kinesweep.sweeps.space.pretraining import fill_in_pretraining, find_pretraining_problems
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.storage import resolve_study_url

FEATURES_PREFIX = "features."
"""Prefix of keys that change the features, so each value needs its own feature store."""
_UNSEARCHABLE_PREFIXES = ("source.", "store.", "evaluation.", "resources.", "checkpoints.")
_UNSEARCHABLE_KEYS = frozenset({"name", "tracking", "batch.ablation"})
_SCRATCH_CONFIG_PREFIXES = ("model.backbone.scratch.", "model.scratch.", "objective.text.scratch.")
"""Prefixes of keys of sizes of models, which the recipe's schema does not know."""
R = TypeVar("R", Recipe, PretrainingRecipe, AnyRecipe)


def load_space(
    path: Path, overrides: Sequence[str], base_dir: Path
) -> tuple[SearchSpace, AnyRecipe]:
    """Load a search space and its recipe, and check each of them and one against the other.

    Args:
        path: File of the search space.
        overrides: Overrides `key.sub=value`; those that begin with `recipe.` apply to the recipe.
        base_dir: Folder to which the recipe's paths are relative.

    Returns:
        The space, and the recipe with absolute paths and with the resources of the space.

    Raises:
        ConfigError: If the space or the recipe is invalid; lists all problems.
        InputError: If METEOR needs WordNet and the recipe's folder does not hold it.
    """
    space_overrides = [item for item in overrides if not item.startswith("recipe.")]
    recipe_overrides = [
        item.removeprefix("recipe.") for item in overrides if item.startswith("recipe.")
    ]
    space = validate_config(SearchSpace, read_yaml(path, space_overrides), str(path))
    if space.study_storage is not None:
        address = resolve_study_url(space.study_storage, base_dir)
        space = space.model_copy(update={"study_storage": address})
    recipe_path = path.parent / space.recipe
    values = read_yaml(recipe_path, recipe_overrides)
    recipe: AnyRecipe = validate_config(
        get_recipe_class(values), values, str(recipe_path), base_dir
    )
    # All runs of a sweep use the resources of the space, which also determine the slots.
    recipe = recipe.model_copy(update={"resources": space.resources}).resolve_paths(base_dir)
    if isinstance(recipe, PretrainingRecipe):
        space = fill_in_pretraining(space)
        metric_problems = find_pretraining_problems(space, recipe.objective)
    else:
        metric_problems = find_metric_problems(space, recipe.evaluation, recipe.training)
    problems = [*metric_problems, *_find_parameter_problems(space, recipe)]
    if problems:
        raise ConfigError(str(path), problems)
    if isinstance(recipe, PretrainingRecipe):
        return space, recipe
    check_wordnet_folder(recipe.evaluation)
    return set_directions(space, recipe.evaluation), recipe


def apply_overrides(recipe: R, values: Values) -> R:
    """Return a copy of the recipe with fixed and swept values set.

    A section whose `kind` changes starts from the defaults of the new kind. A value of one of two
    alternative keys, such as `training.num_train_epochs`, replaces the other one.

    Args:
        recipe: Recipe to change.
        values: Dotted recipe key → value, in any order.

    Raises:
        ConfigError: If a value is not allowed.
    """
    settings: dict[str, Any] = recipe.model_dump(mode="json")
    for key in find_replaced_keys(list(values)):
        set_by_path(settings, key, None)
    # A new kind resets its section, so kinds precede other values, and outer kinds inner ones.
    for path in sorted(values, key=_get_override_priority):
        value = values[path]
        parent, _, key = path.rpartition(".")
        if key == "kind" and flatten_mapping(settings).get(path) != value:
            # Sibling keys belong to the schema of the old kind and may be unknown to the new one.
            set_by_path(settings, parent, {"kind": value})
        else:
            set_by_path(settings, path, value)
    return validate_config(type(recipe), settings, f"trial of {recipe.name}")


def _get_override_priority(path: str) -> tuple[bool, int]:
    """Return the sort key of a dotted recipe key: kinds before other keys, outer ones first."""
    is_kind = path.rpartition(".")[2] == "kind"
    return not is_kind, path.count(".") if is_kind else 0


def compute_base_values(space: SearchSpace, recipe: AnyRecipe) -> Values:
    """Return the values that every trial starts from, on which conditions may depend.

    Args:
        space: Search space, whose fixed values override the recipe.
        recipe: Recipe that the sweep tunes.

    Returns:
        Dotted recipe key → value, for all keys of the recipe.
    """
    return {**flatten_mapping(recipe.model_dump(mode="json")), **space.fixed_values}


def _find_parameter_problems(space: SearchSpace, recipe: AnyRecipe) -> list[tuple[str, str]]:
    """Return (key, message) of each invalid name, value, role or condition of a parameter."""
    # A cycle is reported alone: `_find_activating_values` would recurse without end.
    try:
        sort_topologically(space.parameters)
    except InputError as error:
        return [("parameters", str(error))]
    return [
        (f"parameters.{name}", text)
        for name, parameter in space.parameters.items()
        for text in _validate_parameter(name, parameter, space, recipe)
    ]


def _validate_parameter(
    name: str, parameter: SearchParameter, space: SearchSpace, recipe: AnyRecipe
) -> list[str]:
    """Return the error messages of one parameter, without its name; empty if it is valid.

    Args:
        name: Dotted recipe key.
        parameter: Parameter with this name.
        space: Search space, whose other parameters may be conditions.
        recipe: Recipe to which the values are applied.
    """
    if parameter.role == "noise" or name == SEED:
        return _validate_noise_parameter(name, parameter)
    if name.startswith(_UNSEARCHABLE_PREFIXES) or name in _UNSEARCHABLE_KEYS:
        return ["cannot be searched: trials of one sweep share data, scoring, resources and seeds"]
    if name.startswith(FEATURES_PREFIX) and parameter.choices is None:
        return ["needs `choices`: the features of every value are extracted before the search"]
    try:
        # Which keys exist depends on `kind`s, so names are looked up under their condition.
        context = _find_activating_values(name, space)
        recipe_keys = flatten_mapping(apply_overrides(recipe, context).model_dump(mode="json"))
    except InputError as error:
        problems = error.problems if isinstance(error, ConfigError) else [("", str(error))]
        return [f"its condition never holds: {f'{key} {text}'.strip()}" for key, text in problems]
    if name not in recipe_keys and not name.startswith(_SCRATCH_CONFIG_PREFIXES):
        return [_explain_unknown_key(name, recipe_keys)]
    messages = []
    for value in parameter.bounds_or_choices:
        try:
            apply_overrides(recipe, {**context, name: value})
        except ConfigError as error:
            messages += [f"{value!r}: {text}" for _, text in error.problems]
    # All choices of one list may fail for the same reason, which is reported once.
    return list(dict.fromkeys(messages))


def _explain_unknown_key(name: str, recipe_keys: Values) -> str:
    """Return the error message of a key that the recipe lacks; it may belong to an unset section.

    Args:
        name: Dotted key.
        recipe_keys: Dotted key of the recipe → value, also of its sections that are not set.
    """
    parts = name.split(".")
    for section in (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)):
        if section in recipe_keys and recipe_keys[section] is None:
            return (
                f"is not a key of the recipe, whose `{section}` is null; give this section a"
                " value in the recipe"
            )
    return f"is not a key of the recipe{format_unknown_key_hint(name, list(recipe_keys))}"


def _validate_noise_parameter(name: str, parameter: SearchParameter) -> list[str]:
    """Return the error messages of a parameter that is the seed or has the role `noise`.

    A valid one is both, and lists at least two integers.
    """
    if name != SEED:
        return [f"only `{SEED}` can be noise"]
    if parameter.role != "noise":
        return [f"cannot be searched, because scores vary by seed; set `{SEED}` to `role: noise`"]
    # `bool` is a subclass of `int` in Python.
    invalid_seeds = [
        c for c in parameter.choices or () if not isinstance(c, int) or isinstance(c, bool)
    ]
    if invalid_seeds or len(parameter.choices or ()) < 2:
        return ["needs at least two seeds, all of them integers"]
    return []


def _find_activating_values(name: str, space: SearchSpace) -> Values:
    """Return values under which a parameter is active, including those of nested conditions.

    Raises:
        InputError: If a condition requires a value that its parameter never has.
    """
    activating_values: Values = {}
    for key, required in space.parameters[name].when.items():
        allowed = required if isinstance(required, tuple) else (required,)
        condition_parameter = space.parameters.get(key)
        if condition_parameter is not None:
            levels = condition_parameter.levels
            if levels is not None and not any(value in levels for value in allowed):
                raise InputError(f"`{key}` never has the value {', '.join(map(repr, allowed))}")
            activating_values |= _find_activating_values(key, space)
        # Of several allowed values the first stands for all.
        activating_values[key] = allowed[0]
    return activating_values
