"""Which frames of two motions belong to each other: a window, a warping path, or all paths at once.

A matrix of squared distances comes in, frames of a clip by frames of its reference. Dynamic time
warping fills it cell by cell, each cell from its three neighbours; here a whole anti-diagonal at a
time, since its cells do not depend on each other. So numpy does it without a compiler, and each
cell is the same sum in the same order as in the textbook's double loop, ties included, which a
cumulative sum along rows would not give. 0.7 ms for 100 frames by 100, 3 ms for soft-DTW, one
core. The whole matrix is held: 8 bytes times T times R, so not for hours of film.

Shapes: T frames of the clip, R of the reference, D width, N = T + R - 1 anti-diagonals, K
matrices of one shape.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Frames = NDArray[np.floating]


def squared_distances(x_TD: Frames, r_RD: Frames) -> Floats:
    """Between each frame of a clip and each of a reference, (T, R).

    Differences are squared, not products subtracted, so that equal frames are 0 apart.
    """
    from scipy.spatial.distance import cdist  # 0.2 s, and only references need it

    return np.asarray(cdist(x_TD, r_RD, "sqeuclidean"))


def best_window(x_TD: Frames, r_RD: Frames) -> int:
    """Where in the longer one the shorter one fits best, by summed squared distance.

    Returns:
        First frame of the window, of equal ones the earliest; 0 where both are equally long.
    """
    shorter, longer = sorted((x_TD, r_RD), key=len)
    cost_SL = np.ascontiguousarray(squared_distances(shorter, longer))
    down, right = cost_SL.strides
    # Each offset's window is a diagonal of the matrix; no copy of it is made.
    shape = (len(shorter), len(longer) - len(shorter) + 1)
    windows_SO = np.lib.stride_tricks.as_strided(cost_SL, shape, (down + right, right))
    return int(windows_SO.sum(axis=0).argmin())


def dtw(x_TD: Frames, r_RD: Frames) -> tuple[NDArray[np.intp], float]:
    """The cheapest warping path (Sakoe and Chiba 1978): both ends matched, steps of one frame.

    Returns:
        path_L2: frame of the clip and frame of the reference, first to last. Of equally cheap
            paths, the one that, followed from its end, steps in both first, then in the clip.
        cost: sum of the squared distances along it.
    """
    total_TR = _filled(squared_distances(x_TD, r_RD)[None], np.minimum, np.inf)[0]
    t, r = (size - 1 for size in total_TR.shape)
    cost = float(total_TR[t, r])
    path = [(t, r)]
    while t or r:
        both = total_TR[t - 1, r - 1] if t and r else np.inf
        clip = total_TR[t - 1, r] if t else np.inf
        reference = total_TR[t, r - 1] if r else np.inf
        if both <= clip and both <= reference:
            t, r = t - 1, r - 1
        elif clip <= reference:
            t -= 1
        else:
            r -= 1
        path.append((t, r))
    return np.array(path[::-1], np.intp), cost


def soft_dtw(x_TD: Frames, r_RD: Frames, gamma: float) -> tuple[float, Floats]:
    """Soft-DTW (Cuturi and Blondel 2017, arXiv:1703.01541): all warping paths, weighted.

    A path of cost c weighs exp(-c / gamma), in logarithms throughout. The share of the paths that
    meet in a cell is what leads there from the start times what leads there from the end, so that
    both matrices are filled together, and no second recursion is needed.

    Args:
        x_TD: the clip.
        r_RD: the reference.
        gamma: above 0, in units of a squared distance; towards 0 it becomes `dtw`.

    Returns:
        value: -gamma times the logarithm of the sum of the weights.
        weights_TR: the gradient of `value` by the squared distances, each row divided by its sum:
            of a frame of the clip how much each frame of the reference belongs to it.
    """
    log_TR = squared_distances(x_TD, r_RD) / -gamma
    ways_KTR = _filled(np.stack([log_TR, log_TR[::-1, ::-1]]), np.logaddexp, -np.inf)
    value = ways_KTR[0, -1, -1]
    expected_TR = np.exp(ways_KTR[0] + ways_KTR[1, ::-1, ::-1] - log_TR - value)
    return float(-gamma * value), expected_TR / expected_TR.sum(axis=1, keepdims=True)


def _filled(cost_KTR: Floats, merged: np.ufunc, wall: float) -> Floats:
    """Of each cell its cost and what the cells above, left, and above left of it come to.

    Args:
        cost_KTR: matrices of one shape, filled beside each other.
        merged: of two arrays what they come to.
        wall: lies about the matrices; merged with anything it changes nothing.
    """
    _, frames, others = cost_KTR.shape
    cost_NKT = _skewed(cost_KTR, wall)
    # Before the first frame lies one more column, before the first diagonal two more.
    total_NKT = np.full((len(cost_NKT) + 2, len(cost_KTR), frames + 1), wall)
    total_NKT[2, :, 1] = cost_NKT[0, :, 0]
    for n in range(1, len(cost_NKT)):
        first, end = max(0, n - others + 1), min(n + 1, frames)
        both, clip = total_NKT[n, :, first:end], total_NKT[n + 1, :, first:end]
        best = merged(merged(both, clip), total_NKT[n + 1, :, first + 1 : end + 1])
        np.add(cost_NKT[n, :, first:end], best, out=total_NKT[n + 2, :, first + 1 : end + 1])
    rows = np.arange(frames)[:, None]
    return np.moveaxis(total_NKT[rows + np.arange(others) + 2, :, rows + 1], 2, 0)


def _skewed(cost_KTR: Floats, wall: float) -> Floats:
    """Anti-diagonals as rows: [n, k, t] is [k, t, n - t], the wall where there is no such cell."""
    num, frames, others = cost_KTR.shape
    width = frames + others
    wide = np.full((num, frames, width), wall)
    wide[:, :, :others] = cost_KTR
    # Rows one shorter than they were filled push each row one place further than the last.
    flat = wide.reshape(num, -1)[:, : frames * (width - 1)]
    return np.ascontiguousarray(flat.reshape(num, frames, width - 1).transpose(2, 0, 1))
