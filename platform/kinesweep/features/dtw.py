"""Alignment of two motions in time: best window, dynamic time warping (DTW) and soft-DTW.

All methods start from the matrix of squared distances between the frames of a clip and those of its
reference. DTW computes each cell from three neighbors; this implementation computes a whole
anti-diagonal at once, because its cells do not depend on each other. NumPy can do that without a
compiler, and each cell is the same sum in the same order as in the textbook's double loop,
including ties, which a cumulative sum along rows would not give. DTW of 100 by 100 frames takes
0.7 ms on one core, soft-DTW 3 ms. The whole matrix is kept in memory (8 bytes times T times R), so
this module does not suit hours of video.

Shapes: T frames of the clip, R of the reference, D width, N = T + R - 1 anti-diagonals, K
matrices of one shape.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Frames = NDArray[np.floating]


def compute_squared_distances(x_TD: Frames, r_RD: Frames) -> Floats:
    """Compute the squared Euclidean distance between all pairs of frames, (T, R).

    Uses squared differences instead of `x² - 2xy + y²`, so that equal frames have distance 0.
    """
    from scipy.spatial.distance import cdist  # 0.2 s, and only references need it

    return np.asarray(cdist(x_TD, r_RD, "sqeuclidean"))


def find_best_window(x_TD: Frames, r_RD: Frames) -> int:
    """Find the position in the longer motion at which the shorter one fits best.

    Returns:
        First frame of the window with the lowest sum of squared distances, the earliest of equally
        good ones; 0 if both motions have the same length.
    """
    shorter, longer = sorted((x_TD, r_RD), key=len)
    cost_SL = np.ascontiguousarray(compute_squared_distances(shorter, longer))
    down, right = cost_SL.strides
    # The window at an offset is a diagonal of the matrix. Stepping by one row and one column at
    # once turns the diagonals into columns of a view, without a copy. `ascontiguousarray` makes
    # sure that the strides are those of a plain row-major matrix.
    shape = (len(shorter), len(longer) - len(shorter) + 1)
    windows_SO = np.lib.stride_tricks.as_strided(cost_SL, shape, (down + right, right))
    return int(windows_SO.sum(axis=0).argmin())


def compute_dtw_path(x_TD: Frames, r_RD: Frames) -> tuple[NDArray[np.intp], float]:
    """Compute the DTW path with the lowest cost (Sakoe and Chiba 1978).

    Both first frames and both last frames are matched, and each step advances by one frame in the
    clip, the reference or both.

    Returns:
        path_L2: Pairs of clip frame and reference frame, first to last. Ties are resolved from the
            end of the path: a step in both comes first, then a step in the clip.
        cost: Sum of the squared distances along the path.
    """
    total_TR = _accumulate_costs(compute_squared_distances(x_TD, r_RD)[None], np.minimum, np.inf)[0]
    t, r = (size - 1 for size in total_TR.shape)
    cost = float(total_TR[t, r])
    path = [(t, r)]
    # Backtrack from the end. The comparisons repeat those of the forward pass on the same sums, so
    # the path is exact without a stored matrix of decisions.
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


def compute_soft_dtw(x_TD: Frames, r_RD: Frames, gamma: float) -> tuple[float, Floats]:
    """Compute the soft-DTW value and weights (Cuturi and Blondel 2017, arXiv:1703.01541).

    A path with cost c has the weight exp(-c / gamma); all sums are computed in log space. The
    total weight of the paths through a cell is the product of the forward sum and the backward sum.
    The backward matrix is the forward matrix of the reversed motions, so both are filled together
    and no second recursion is needed.

    Args:
        x_TD: Frames of the clip.
        r_RD: Frames of the reference.
        gamma: Smoothing in units of a squared distance, above 0; the limit 0 gives DTW.

    Returns:
        value: -gamma times the logarithm of the sum of the weights.
        weights_TR: Gradient of `value` with respect to the squared distances, each row divided by
            its sum: the weight of each reference frame for each frame of the clip.
    """
    log_TR = compute_squared_distances(x_TD, r_RD) / -gamma
    log_sums_KTR = _accumulate_costs(np.stack([log_TR, log_TR[::-1, ::-1]]), np.logaddexp, -np.inf)
    value = log_sums_KTR[0, -1, -1]
    # Both sums contain the cell's own cost, so it is subtracted once. Dividing by the total weight
    # (subtracting `value`) gives the probability that a path passes through the cell.
    expected_TR = np.exp(log_sums_KTR[0] + log_sums_KTR[1, ::-1, ::-1] - log_TR - value)
    return float(-gamma * value), expected_TR / expected_TR.sum(axis=1, keepdims=True)


def _accumulate_costs(cost_KTR: Floats, combine: np.ufunc, outside_value: float) -> Floats:
    """Accumulate DTW costs: cell cost plus the combined values of the three preceding cells.

    Args:
        cost_KTR: Cost matrices of equal shape, processed together.
        combine: Function that combines two arrays, for example the minimum.
        outside_value: Value of the cells outside of the matrices, the identity of `combine`.

    Returns:
        Accumulated values, (K, T, R).
    """
    _, num_clip_frames, num_reference_frames = cost_KTR.shape
    cost_NKT = _skew_antidiagonals(cost_KTR, outside_value)
    # One extra column in front of the first frame and two extra rows in front of the first diagonal
    # spare the loop all border cases. Therefore diagonal n is row n + 2, and frame t column t + 1.
    total_NKT = np.full((len(cost_NKT) + 2, len(cost_KTR), num_clip_frames + 1), outside_value)
    # The first cell has no predecessor; combining three outside values would make it infinite.
    total_NKT[2, :, 1] = cost_NKT[0, :, 0]
    for n in range(1, len(cost_NKT)):
        first, end = max(0, n - num_reference_frames + 1), min(n + 1, num_clip_frames)
        # Row n holds diagonal n - 2, with (t - 1, r - 1); row n + 1 holds diagonal n - 1, with
        # (t - 1, r) and (t, r - 1).
        both, clip = total_NKT[n, :, first:end], total_NKT[n + 1, :, first:end]
        best = combine(combine(both, clip), total_NKT[n + 1, :, first + 1 : end + 1])
        np.add(cost_NKT[n, :, first:end], best, out=total_NKT[n + 2, :, first + 1 : end + 1])
    # Undo the skew: cell (t, r) lies on diagonal t + r.
    rows = np.arange(num_clip_frames)[:, None]
    return np.moveaxis(total_NKT[rows + np.arange(num_reference_frames) + 2, :, rows + 1], 2, 0)


def _skew_antidiagonals(cost_KTR: Floats, outside_value: float) -> Floats:
    """Turn anti-diagonals into rows: [n, k, t] is [k, t, n - t], or the outside value."""
    num_matrices, num_clip_frames, num_reference_frames = cost_KTR.shape
    width = num_clip_frames + num_reference_frames
    padded = np.full((num_matrices, num_clip_frames, width), outside_value)
    padded[:, :, :num_reference_frames] = cost_KTR
    # Each row is filled with T + R values but read with T + R - 1, which shifts every row one
    # column further to the right than the row above it.
    flat = padded.reshape(num_matrices, -1)[:, : num_clip_frames * (width - 1)]
    return np.ascontiguousarray(
        flat.reshape(num_matrices, num_clip_frames, width - 1).transpose(2, 0, 1)
    )
