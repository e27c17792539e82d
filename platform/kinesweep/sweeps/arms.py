"""Levels of the scientific parameters, and the order in which conditions are decided.

Each combination of levels is an arm: searched by itself, with the same number of trials, so that
none starves while the sampler follows another one's early luck.
"""

from collections.abc import Iterator, Mapping, Sequence

from kinesweep.core.errors import InputError
from kinesweep.sweeps.parameter import Parameter, Values
from kinesweep.sweeps.space import SearchSpace


def ordered(parameters: Mapping[str, Parameter]) -> list[str]:
    """Names such that every condition comes before whom it concerns.

    Raises:
        InputError: conditions that wait for each other.
    """
    done: list[str] = []
    left = list(parameters)
    while left:
        free = [n for n in left if not any(k in left for k in parameters[n].when)]
        if not free:
            raise InputError(f"the conditions of {', '.join(f'`{n}`' for n in left)} form a ring")
        done += free
        left = [name for name in left if name not in free]
    return done


def fixed_values(space: SearchSpace) -> Values:
    """What is laid over the recipe in every trial."""
    return {n: p.edges[0] for n, p in space.parameters.items() if p.role == "fixed"}


def find_arms(space: SearchSpace, base: Values) -> list[Values]:
    """Every combination of levels; one empty arm where nothing is scientific.

    Args:
        space: the question.
        base: the recipe's own values, for conditions.
    """
    scientific = {n: p for n, p in space.searched.items() if p.role == "scientific"}
    return list(combinations(scientific, base))


def combinations(parameters: Mapping[str, Parameter], base: Values) -> Iterator[Values]:
    """Every assignment of countable parameters, those left out whose condition does not hold."""
    yield from _extend(parameters, ordered(parameters), {}, base)


def _extend(
    parameters: Mapping[str, Parameter], names: Sequence[str], chosen: Values, base: Values
) -> Iterator[Values]:
    if not names:
        yield dict(chosen)
        return
    name, *rest = names
    if not parameters[name].applies({**base, **chosen}):
        yield from _extend(parameters, rest, chosen, base)
        return
    for level in parameters[name].levels or ():
        yield from _extend(parameters, rest, {**chosen, name: level}, base)


def arm_of(values: Values, arms: Sequence[Values]) -> int:
    """Index of the arm that a trial's values belong to.

    Raises:
        InputError: to none.
    """
    for index, arm in enumerate(arms):
        if all(name in values and values[name] == level for name, level in arm.items()):
            return index
    raise InputError(f"{values} belongs to no arm of this sweep")
