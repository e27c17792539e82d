"""Paths through a table of costs, from first cell to last: the cheapest, and the mean of all.

A step goes one row on, one column on, or both (DTW: Sakoe and Chiba, 1978). The mean weighs each
path by exp(-cost / gamma) (soft-DTW: Cuturi and Blondel, 2017; the gradient of its cost).

The recurrences run along anti-diagonals, whose cells do not depend on each other: numpy computes
each in one go, with the very sums of a loop over cells, so ties fall as there. In a table of 100 by
100 the cheapest takes 0.8 ms and the mean 3; memory is a dozen tables, too much beyond thousands of
frames.

Shapes: T rows, R columns, A anti-diagonals (T + R - 1), K cells of a path.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


def cheapest_path(costs_TR: Floats) -> tuple[Places, float]:
    """The path with the least sum of costs.

    Of equally cheap steps into a cell the one on in both is taken, else that on in the row.

    Returns:
        Row and column of its cells in order, (K, 2), and the sum.
    """
    costs_AT = _skewed(costs_TR)
    sums = np.full((len(costs_AT) + 2, len(costs_TR) + 1), np.inf)
    sums[0, 0] = 0.0
    for best_T, by_row_T, by_column_T, by_both_T, costs_T in _steps(sums, costs_AT):
        np.minimum(by_row_T, by_column_T, out=best_T)
        np.minimum(best_T, by_both_T, out=best_T)
        best_T += costs_T
    return _way_back(sums, *costs_TR.shape), float(sums[-1, -1])


def mean_path(costs_TR: Floats, gamma: float) -> tuple[Floats, float]:
    """All paths, cheap ones counting more.

    Args:
        costs_TR: of each cell.
        gamma: how much dearer a path is that counts e times less; above 0.

    Returns:
        Share of the paths that pass through each cell, (T, R), and -gamma · log of the sum of all
        weights: below the least cost, and with small gamma near it.
    """
    logs_AT = -_skewed(costs_TR) / gamma
    ways = np.full((len(logs_AT) + 2, len(costs_TR) + 1), -np.inf)
    ways[0, 0] = 0.0
    for sum_T, by_row_T, by_column_T, by_both_T, logs_T in _steps(ways, logs_AT):
        np.logaddexp(by_row_T, by_column_T, out=sum_T)
        np.logaddexp(sum_T, by_both_T, out=sum_T)
        sum_T += logs_T
    rows, columns = costs_TR.shape
    row_T1 = np.arange(rows)[:, None]
    passing_TR = _passing(ways, logs_AT)[row_T1 + np.arange(columns), row_T1]
    return passing_TR, float(-gamma * ways[-1, -1])


def _skewed(costs_TR: Floats) -> Floats:
    """Anti-diagonals as rows, (A, T): row a has at t the cell (t, a - t), infinite outside."""
    rows, columns = costs_TR.shape
    width = rows + columns
    wide = np.full((rows, width), np.inf)
    wide[:, :columns] = costs_TR
    # Read with rows one shorter, each row begins one further to the right than that above.
    shifted = wide.ravel()[: rows * (width - 1)].reshape(rows, width - 1)
    return np.ascontiguousarray(shifted.T)


def _steps(table: Floats, cells_AT: Floats) -> Iterable[tuple[Floats, ...]]:
    """Row by row of a skewed table with a border: it, and those that its steps come from.

    The border is two rows above and one column before, so row a + 2 has at t + 1 the cell
    (t, a - t). Steps are one on in the row, in the column, and in both; last are the cells' values.
    """
    last = table[1:]
    return zip(table[2:, 1:], last[:, :-1], last[:, 1:], table[:, :-1], cells_AT, strict=False)


def _way_back(sums: Floats, rows: int, columns: int) -> Places:
    """From the last cell to the first, turned round."""
    t, r = rows, columns
    path = [(t - 1, r - 1)]
    while t > 1 or r > 1:
        both, by_row, by_column = sums[t + r - 2, t - 1], sums[t + r - 1, t - 1], sums[t + r - 1, t]
        if both <= by_row and both <= by_column:
            t, r = t - 1, r - 1
        elif by_row <= by_column:
            t -= 1
        else:
            r -= 1
        path.append((t - 1, r - 1))
    return np.array(path[::-1], np.intp)


def _passing(ways: Floats, logs_AT: Floats) -> Floats:
    """Share of all paths that pass through each cell, skewed, (A, T).

    Args:
        ways: log of the summed weights of all paths to each cell, with its border.
        logs_AT: log of each cell's own weight.
    """
    into_AT = np.full_like(logs_AT, np.inf)  # of all ways into a cell, before its own weight
    np.subtract(ways[2:, 1:], logs_AT, out=into_AT, where=np.isfinite(logs_AT))
    from_A3T = np.stack([ways[1:-1, :-1], ways[1:-1, 1:], ways[:-2, :-1]], axis=1)
    shares_A3T = np.exp(from_A3T - into_AT[:, None])
    passing = np.zeros_like(ways)
    passing[-1, -1] = 1.0
    back = passing[::-1]
    views = (back[:, 1:], back[1:, :-1], back[1:, 1:], back[2:, :-1], shares_A3T[::-1])
    for now_T, by_row_T, by_column_T, by_both_T, shares_3T in zip(*views, strict=False):
        row_T, column_T, both_T = shares_3T * now_T
        by_row_T += row_T
        by_column_T += column_T
        by_both_T += both_T
    return passing[2:, 1:]
