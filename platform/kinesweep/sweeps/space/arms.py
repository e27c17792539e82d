"""Arms of a search and the evaluation order of conditional parameters.

An arm is one combination of levels of the scientific parameters. Each arm is searched separately
with the same number of trials, because a single sampler would concentrate on the arm that did well
first and would leave too few trials for a fair comparison.
"""

from collections.abc import Iterator, Mapping, Sequence

from kinesweep.core.errors import InputError
from kinesweep.sweeps.space.parameter import Parameter, Values
from kinesweep.sweeps.space.space import SearchSpace


def ordered(parameters: Mapping[str, Parameter]) -> list[str]:
    """Sort parameter names topologically, so that every condition precedes its dependents.

    Raises:
        InputError: If conditions depend on each other in a cycle.
    """
    done: list[str] = []
    left = list(parameters)
    while left:
        # Conditions on recipe keys that are not parameters are never in `left` and do not block.
        free = [n for n in left if not any(k in left for k in parameters[n].when)]
        if not free:
            raise InputError(f"the conditions of {', '.join(f'`{n}`' for n in left)} form a cycle")
        done += free
        left = [name for name in left if name not in free]
    return done


def fixed_values(space: SearchSpace) -> Values:
    """Return the values of all fixed parameters, which override the recipe in every run."""
    return {n: p.edges[0] for n, p in space.parameters.items() if p.role == "fixed"}


def find_arms(space: SearchSpace, base: Values) -> list[Values]:
    """Return every combination of scientific levels; one empty arm without such parameters.

    Args:
        space: The search space.
        base: Flattened recipe values, on which conditions may depend.
    """
    scientific = {n: p for n, p in space.searched.items() if p.role == "scientific"}
    return list(combinations(scientific, base))


def combinations(parameters: Mapping[str, Parameter], base: Values) -> Iterator[Values]:
    """Yield every assignment of parameters with finite values, without inapplicable parameters."""
    yield from _extend(parameters, ordered(parameters), {}, base)


def _extend(
    parameters: Mapping[str, Parameter], names: Sequence[str], chosen: Values, base: Values
) -> Iterator[Values]:
    """Assign the remaining `names` recursively; `names` must be in topological order."""
    if not names:
        yield dict(chosen)
        return
    name, *rest = names
    if not parameters[name].applies({**base, **chosen}):
        # A parameter whose condition is not met has no value, so it does not multiply the result.
        yield from _extend(parameters, rest, chosen, base)
        return
    for level in parameters[name].levels or ():
        yield from _extend(parameters, rest, {**chosen, name: level}, base)


def arm_of(values: Values, arms: Sequence[Values]) -> int:
    """Return the index of the arm to which a trial's values belong.

    Raises:
        InputError: If the values match no arm.
    """
    for index, arm in enumerate(arms):
        # `name in values` matters where a level is None, which `get` could not tell from absence.
        if all(name in values and values[name] == level for name, level in arm.items()):
            return index
    raise InputError(f"{values} matches no combination of this sweep's scientific levels")
