"""Fixed lists of configurations: grid, random, quasi-random (Sobol).

The k-th configuration is a function of the space, the seed and k alone. So a sweep that was
interrupted goes on with the very same list, whatever was in flight.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import qmc

from kinesweep.core.seeds import derive_seed, generator
from kinesweep.sweeps.arms import combinations, ordered
from kinesweep.sweeps.parameter import Parameter, Values
from kinesweep.sweeps.space import SearchSpace

Point = Callable[[int], Values | None]
"""k → configuration, or None past the end of the list."""


def build_points(space: SearchSpace, arm: Values, base: Values) -> Point:
    """The list of one arm.

    Args:
        space: whose `search.kind` is one of `space.LISTED`.
        arm: the arm's levels.
        base: the recipe's own values, for conditions.
    """
    free = {name: p for name, p in space.searched.items() if name not in arm}
    if space.search.kind == "grid":
        return _grid(free, arm, base, space.search.seed)
    names = ordered(free)
    seed = derive_seed(space.search.seed, "points", *map(str, arm.values()))

    def point(k: int) -> Values:
        if space.search.kind == "random":
            place = generator(seed, k).random(len(names))
        else:
            sobol = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(seed))
            place = (sobol.fast_forward(k) if k else sobol).random(1)[0]
        return _filled(free, names, place, arm, base)

    if not names:
        return lambda k: dict(arm) if k == 0 else None
    return point


def _filled(
    free: dict[str, Parameter], names: list[str], place: np.ndarray, arm: Values, base: Values
) -> Values:
    """A point of the unit cube as values; coordinates of absent parameters are unused."""
    values = dict(arm)
    for name, unit in zip(names, place, strict=True):
        if free[name].applies({**base, **values}):
            values[name] = free[name].at(float(unit))
    return values


def _grid(free: dict[str, Parameter], arm: Values, base: Values, seed: int) -> Point:
    """All combinations, shuffled: a grid that a budget cuts short has then been all over it."""
    every = [{**arm, **values} for values in combinations(free, {**base, **arm})]
    order = generator(seed, "grid").permutation(len(every))
    return lambda k: every[order[k]] if k < len(every) else None
