"""Fixed designs of configurations: grid, random and quasi-random (Sobol).

The k-th configuration depends only on the space, the seed and k. A sweep that was interrupted
therefore continues with the same list, whichever runs were in progress.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import qmc

from kinesweep.core.seeds import derive_seed, generator
from kinesweep.sweeps.space.arms import combinations, ordered
from kinesweep.sweeps.space.parameter import Parameter, Values
from kinesweep.sweeps.space.space import SearchSpace

Design = Callable[[int], Values | None]
"""Function k → configuration, or None past the end of the list."""


def build_design(space: SearchSpace, arm: Values, base: Values) -> Design:
    """Return the fixed design of one arm: a function k → k-th configuration, None past the end.

    Args:
        space: Search space with one of the kinds in `space.LISTED`.
        arm: Scientific levels of the arm.
        base: Flattened recipe values, on which conditions may depend.
    """
    free = {name: p for name, p in space.searched.items() if name not in arm}
    if space.search.kind == "grid":
        return _build_grid_design(free, arm, base, space.search.seed)
    names = ordered(free)
    seed = derive_seed(space.search.seed, "points", *map(str, arm.values()))

    def point(k: int) -> Values:
        # A new generator for each k: the point must not depend on which ones were drawn before.
        if space.search.kind == "random":
            place = generator(seed, k).random(len(names))
        else:
            sobol = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(seed))
            # On a new engine SciPy's `fast_forward(0)` would move to position -1.
            place = (sobol.fast_forward(k) if k else sobol).random(1)[0]
        return _filled(free, names, place, arm, base)

    # An arm without further parameters has exactly one configuration.
    if not names:
        return lambda k: dict(arm) if k == 0 else None
    return point


def _filled(
    free: dict[str, Parameter], names: list[str], place: np.ndarray, arm: Values, base: Values
) -> Values:
    """Map a point of the unit cube to values; coordinates of inapplicable parameters are unused."""
    values = dict(arm)
    for name, unit in zip(names, place, strict=True):
        if free[name].applies({**base, **values}):
            values[name] = free[name].at(float(unit))
    return values


def _build_grid_design(free: dict[str, Parameter], arm: Values, base: Values, seed: int) -> Design:
    """Return the grid in a seeded random order, so that a sweep that stops early covers it."""
    every = [{**arm, **values} for values in combinations(free, {**base, **arm})]
    order = generator(seed, "grid").permutation(len(every))
    return lambda k: every[order[k]] if k < len(every) else None
