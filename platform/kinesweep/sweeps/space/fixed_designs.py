"""Fixed designs of configurations: grid, random and quasi-random (Sobol).

The k-th configuration depends only on the space, the seed and k. A sweep that was interrupted
therefore continues with the same list, whichever runs were in progress.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import qmc

from kinesweep.core.seeds import create_generator, derive_seed
from kinesweep.sweeps.space.arms import iter_parameter_combinations, sort_topologically
from kinesweep.sweeps.space.parameter import SearchParameter, Values
from kinesweep.sweeps.space.space import SearchSpace

Design = Callable[[int], Values | None]
"""Function k → configuration, or None past the end of the list."""


def build_fixed_design(space: SearchSpace, arm: Values, recipe_values: Values) -> Design:
    """Build the fixed design of one arm: a function k → k-th configuration, None past the end.

    Args:
        space: Search space with one of the kinds in `space.FIXED_DESIGN_KINDS`.
        arm: Scientific levels of the arm.
        recipe_values: Flattened recipe values, on which conditions may depend.
    """
    free_parameters = {name: p for name, p in space.searched_parameters.items() if name not in arm}
    if space.search.kind == "grid":
        return _build_grid_design(free_parameters, arm, recipe_values, space.search.seed)
    names = sort_topologically(free_parameters)
    seed = derive_seed(space.search.seed, "points", *map(str, arm.values()))

    def compute_configuration(k: int) -> Values:
        # A new generator for each k: the point must not depend on earlier draws.
        if space.search.kind == "random":
            unit_point = create_generator(seed, k).random(len(names))
        else:
            sobol = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(seed))
            # On a new engine SciPy's `fast_forward(0)` would move to position -1.
            unit_point = (sobol.fast_forward(k) if k else sobol).random(1)[0]
        return _map_point_to_values(free_parameters, names, unit_point, arm, recipe_values)

    # An arm without further parameters has exactly one configuration.
    if not names:
        return lambda k: dict(arm) if k == 0 else None
    return compute_configuration


def _map_point_to_values(
    free_parameters: dict[str, SearchParameter],
    names: list[str],
    unit_point: np.ndarray,
    arm: Values,
    recipe_values: Values,
) -> Values:
    """Map a point of the unit cube to a configuration; inactive parameters get no value.

    Args:
        free_parameters: Parameters that are not fixed by the arm.
        names: Their names in topological order.
        unit_point: Coordinates in [0, 1), one for each name.
        arm: Scientific levels of the arm.
        recipe_values: Flattened recipe values, on which conditions may depend.
    """
    values = dict(arm)
    for name, coordinate in zip(names, unit_point, strict=True):
        if free_parameters[name].is_active({**recipe_values, **values}):
            values[name] = free_parameters[name].map_unit_to_value(float(coordinate))
    return values


def _build_grid_design(
    free_parameters: dict[str, SearchParameter], arm: Values, recipe_values: Values, seed: int
) -> Design:
    """Build the design of a full grid in random order, which spreads early trials over it."""
    configurations = [
        {**arm, **values}
        for values in iter_parameter_combinations(free_parameters, {**recipe_values, **arm})
    ]
    permutation = create_generator(seed, "grid").permutation(len(configurations))
    return lambda k: configurations[permutation[k]] if k < len(configurations) else None
