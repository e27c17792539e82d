"""Windows and warping paths equal what brute force finds, ties included; soft-DTW its gradient."""

from collections.abc import Iterator
from functools import lru_cache
from math import inf

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.features.dtw import (
    compute_dtw_path,
    compute_soft_dtw,
    compute_squared_distances,
    find_best_window,
)

Floats = NDArray[np.float64]
Path = list[tuple[int, int]]


def pairs(longest: int, whole: bool) -> Iterator[tuple[Floats, Floats]]:
    """200 pairs of different lengths; of small whole numbers, which tie often, or of any."""
    rng = np.random.default_rng(longest)
    for _ in range(200):
        t, r = rng.choice(np.arange(1, longest + 1), 2, replace=False)
        draw = (lambda *shape: rng.integers(-1, 2, shape) * 1.0) if whole else rng.standard_normal
        yield (draw(t, 2), draw(r, 2)) if whole else (draw((t, 2)), draw((r, 2)))


def apart(x: Floats, r: Floats) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(x, r, strict=True)))


def slid(x_TD: Floats, r_RD: Floats) -> int:
    """The offset, tried one after the other."""
    short, long = (x_TD, r_RD) if len(x_TD) <= len(r_RD) else (r_RD, x_TD)
    costs = [
        sum(apart(short[i], long[o + i]) for i in range(len(short)))
        for o in range(len(long) - len(short) + 1)
    ]
    return costs.index(min(costs))


@lru_cache
def backwards(t: int, r: int) -> list[tuple[str, Path]]:
    """Every warping path from (t, r) to (0, 0), with its steps; b is one in the clip alone."""
    if t == r == 0:
        return [("", [(0, 0)])]
    steps = [("a", t - 1, r - 1), ("b", t - 1, r), ("c", t, r - 1)]
    return [
        (step + more, [(t, r), *path])
        for step, i, j in steps
        if i >= 0 and j >= 0
        for more, path in backwards(i, j)
    ]


def cheapest(x_TD: Floats, r_RD: Floats) -> tuple[Path, float, int]:
    """The cheapest path, of equal ones the first by its steps from the end; and how many equal."""
    costs = [[apart(x, r) for r in r_RD] for x in x_TD]
    found = [
        (sum(costs[t][r] for t, r in path), steps, path)
        for steps, path in backwards(len(x_TD) - 1, len(r_RD) - 1)
    ]
    cost, _, path = min(found)
    return path[::-1], cost, sum(one[0] == cost for one in found)


def total(cost: list[list[float]]) -> list[list[float]]:
    """The double loop of the textbook."""
    rows, columns = len(cost), len(cost[0])
    found = [[inf] * (columns + 1) for _ in range(rows + 1)]
    found[0][0] = 0.0
    for t in range(rows):
        for r in range(columns):
            least = min(found[t][r], found[t][r + 1], found[t + 1][r])
            found[t + 1][r + 1] = cost[t][r] + least
    return found


def softly(cost_TR: Floats, gamma: float) -> float:
    """Soft-DTW by its definition, cell by cell."""
    found = np.full((cost_TR.shape[0] + 1, cost_TR.shape[1] + 1), inf)
    found[0, 0] = 0
    for t, row in enumerate(cost_TR):
        for r, cost in enumerate(row):
            some = np.array([found[t, r], found[t, r + 1], found[t + 1, r]])
            least = some.min()
            found[t + 1, r + 1] = (
                cost + least - gamma * np.log(np.exp((least - some) / gamma).sum())
            )
    return float(found[-1, -1])


@pytest.mark.parametrize("whole", [True, False])
def test_the_window_is_that_of_brute_force(whole: bool) -> None:
    for x_TD, r_RD in pairs(20, whole):
        assert find_best_window(x_TD, r_RD) == find_best_window(r_RD, x_TD) == slid(x_TD, r_RD)


@pytest.mark.parametrize("whole", [True, False])
def test_the_path_is_that_of_brute_force(whole: bool) -> None:
    equal = []
    for x_TD, r_RD in pairs(6, whole):
        path_L2, cost = compute_dtw_path(x_TD, r_RD)
        path, least, num = cheapest(x_TD, r_RD)
        assert [tuple(step) for step in path_L2.tolist()] == path
        assert cost == pytest.approx(least, abs=1e-12)
        equal.append(num)
    assert (max(equal) > 1) == whole


def test_longer_ones_cost_what_the_double_loop_finds() -> None:
    for x_TD, r_RD in pairs(30, whole=False):
        cost = compute_squared_distances(x_TD, r_RD)
        path_L2, least = compute_dtw_path(x_TD, r_RD)
        assert least == total(cost.tolist())[-1][-1]
        steps = np.diff(path_L2, axis=0)
        assert set(map(tuple, steps.tolist())) <= {(1, 1), (1, 0), (0, 1)}
        assert path_L2[0].tolist() == [0, 0]
        assert path_L2[-1].tolist() == [len(x_TD) - 1, len(r_RD) - 1]
        assert cost[tuple(path_L2.T)].sum() == pytest.approx(least)


@pytest.mark.parametrize("gamma", [0.01, 1.0, 100.0])
def test_soft_dtw_is_the_recursion_and_its_weights_the_gradient(gamma: float) -> None:
    rng = np.random.default_rng(3)
    for t, r in [(1, 1), (1, 4), (5, 1), (6, 9), (8, 3)]:
        x_TD, r_RD = rng.normal(size=(t, 2)), rng.normal(size=(r, 2))
        cost_TR = compute_squared_distances(x_TD, r_RD)
        value, weights_TR = compute_soft_dtw(x_TD, r_RD, gamma)
        assert value == pytest.approx(softly(cost_TR, gamma), rel=1e-9)
        step = 1e-5
        slope_TR = np.empty((t, r))
        for cell in np.ndindex(t, r):
            nudge_TR = np.zeros((t, r))
            nudge_TR[cell] = step
            rise = softly(cost_TR + nudge_TR, gamma) - softly(cost_TR - nudge_TR, gamma)
            slope_TR[cell] = rise / (2 * step)
        wanted_TR = slope_TR / slope_TR.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(weights_TR, wanted_TR, atol=1e-4)
        np.testing.assert_allclose(weights_TR.sum(axis=1), 1, rtol=1e-12)


def test_a_hard_soft_dtw_is_dtw() -> None:
    for x_TD, r_RD in list(pairs(25, whole=False))[:40]:
        path_L2, cost = compute_dtw_path(x_TD, r_RD)
        value, weights_TR = compute_soft_dtw(x_TD, r_RD, 1e-6)
        assert value == pytest.approx(cost, rel=1e-6)
        matched_TR = np.zeros(weights_TR.shape)
        matched_TR[tuple(path_L2.T)] = 1
        wanted_TR = matched_TR / matched_TR.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(weights_TR, wanted_TR, atol=1e-3)
