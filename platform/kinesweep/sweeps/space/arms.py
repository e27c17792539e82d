"""Arms of a search, and the combinations of discrete parameters from which they are built.

An arm is one combination of levels of the scientific parameters. Each arm is searched separately
with the same number of trials, because a single sampler would concentrate on the arm that did well
first and would leave too few trials for a fair comparison.
"""

from collections.abc import Iterator, Mapping, Sequence

from kinesweep.core.errors import InputError
from kinesweep.sweeps.space.parameter import SearchParameter, Values
from kinesweep.sweeps.space.space import SearchSpace


def sort_topologically(parameters: Mapping[str, SearchParameter]) -> list[str]:
    """Return parameter names in topological order: conditions before the parameters they concern.

    Raises:
        InputError: If conditions depend on each other in a cycle.
    """
    sorted_names: list[str] = []
    remaining = list(parameters)
    while remaining:
        # Conditions on recipe keys that are not parameters are not in `remaining` and do not block.
        independent = [n for n in remaining if not any(k in remaining for k in parameters[n].when)]
        if not independent:
            raise InputError(
                f"the conditions of {', '.join(f'`{n}`' for n in remaining)} form a cycle"
            )
        sorted_names += independent
        remaining = [name for name in remaining if name not in independent]
    return sorted_names


def find_arms(space: SearchSpace, recipe_values: Values) -> list[Values]:
    """Return the arms: all combinations of scientific levels; one empty arm if there are none.

    Args:
        space: The search space.
        recipe_values: Flattened recipe values, on which conditions may depend.

    Returns:
        Scientific parameter → level for each arm, without inactive parameters.
    """
    scientific = {n: p for n, p in space.searched_parameters.items() if p.role == "scientific"}
    return list(iter_parameter_combinations(scientific, recipe_values))


def iter_parameter_combinations(
    parameters: Mapping[str, SearchParameter], recipe_values: Values
) -> Iterator[Values]:
    """Yield every combination of levels; inactive parameters are left out of a combination.

    Args:
        parameters: Parameters, all of them discrete.
        recipe_values: Flattened recipe values, on which conditions may depend.
    """
    yield from _iter_assignments(parameters, sort_topologically(parameters), {}, recipe_values)


def _iter_assignments(
    parameters: Mapping[str, SearchParameter],
    names: Sequence[str],
    assigned_values: Values,
    recipe_values: Values,
) -> Iterator[Values]:
    """Yield `assigned_values` completed by every combination of levels of the named parameters.

    Args:
        parameters: Parameters, all of them discrete.
        names: Names of the parameters to assign, in topological order.
        assigned_values: Values that are assigned already.
        recipe_values: Flattened recipe values, on which conditions may depend.
    """
    if not names:
        yield dict(assigned_values)
        return
    name, *remaining_names = names
    if not parameters[name].is_active({**recipe_values, **assigned_values}):
        # A parameter whose condition is not met has no value, so it does not multiply the result.
        yield from _iter_assignments(parameters, remaining_names, assigned_values, recipe_values)
        return
    for level in parameters[name].levels or ():
        yield from _iter_assignments(
            parameters, remaining_names, {**assigned_values, name: level}, recipe_values
        )


def find_arm_index(values: Values, arms: Sequence[Values]) -> int:
    """Return the index of the arm to which a trial's values belong.

    Raises:
        InputError: If the values match no arm.
    """
    for index, arm in enumerate(arms):
        # `name in values` matters where a level is None, which `get` could not tell from absence.
        if all(name in values and values[name] == level for name, level in arm.items()):
            return index
    raise InputError(f"{values} matches no combination of this sweep's scientific levels")
