"""Alignment of two motions in time: best window, dynamic time warping (DTW) and soft-DTW.

All methods start from the matrix of squared distances between the frames of a clip and those of its
reference motion. DTW computes each cell from three neighbors; this implementation computes a whole
anti-diagonal at once, because its cells do not depend on each other. NumPy can do that without a
compiler, and each cell is the same sum in the same order as in the textbook's double loop,
including ties, which a cumulative sum along rows would not give. DTW of 100 by 100 frames takes
0.7 ms on one core, soft-DTW 3 ms. The whole matrix is kept in memory (8 bytes times T times R), so
this module does not suit hours of video.

Shapes: T frames of the clip, R frames of the reference motion, D width, N = T + R - 1
anti-diagonals, K matrices of one shape, L pairs of a path, S frames of the shorter motion, G frames
of the longer motion, O offsets of the shorter in the longer.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Frames = NDArray[np.floating]


def compute_squared_distances(x_TD: Frames, r_RD: Frames) -> Floats:
    """Compute the squared Euclidean distance between all pairs of frames, float64 (T, R).

    It sums squared differences instead of `x² - 2xy + y²`, so equal frames have distance 0.
    """
    from scipy.spatial.distance import cdist  # 0.2 s, and only reference motions need it

    return np.asarray(cdist(x_TD, r_RD, "sqeuclidean"))


def find_best_window(x_TD: Frames, r_RD: Frames) -> int:
    """Find the window of the longer motion that fits the shorter motion best.

    Either of the two motions may be the longer one.

    Returns:
        Index of the window's first frame in the longer motion. The window has the lowest sum of
        squared distances and is the earliest of equally good ones. The index is 0 if both motions
        have the same length.
    """
    shorter, longer = sorted((x_TD, r_RD), key=len)
    cost_SG = np.ascontiguousarray(compute_squared_distances(shorter, longer))
    row_stride, column_stride = cost_SG.strides
    # The window at an offset is a diagonal of the matrix. Stepping by one row and one column at
    # once turns the diagonals into columns of a view, without a copy. `ascontiguousarray` makes
    # sure that the strides are those of a plain row-major matrix.
    shape = (len(shorter), len(longer) - len(shorter) + 1)
    windows_SO = np.lib.stride_tricks.as_strided(
        cost_SG, shape, (row_stride + column_stride, column_stride)
    )
    return int(windows_SO.sum(axis=0).argmin())


def compute_dtw_path(x_TD: Frames, r_RD: Frames) -> tuple[NDArray[np.intp], float]:
    """Compute the DTW path with the lowest cost (Sakoe and Chiba 1978).

    Both first frames and both last frames are matched, and each step advances by one frame in the
    clip, the reference motion or both.

    Returns:
        path_L2: Pairs of a clip frame and a reference frame (indices), from the first to the last.
            Ties are resolved from the end of the path: a step in both motions comes first, then a
            step in the clip.
        cost: Sum of the squared distances along the path.
    """
    total_TR = _accumulate_costs(compute_squared_distances(x_TD, r_RD)[None], np.minimum, np.inf)[0]
    t, r = (size - 1 for size in total_TR.shape)
    cost = float(total_TR[t, r])
    path = [(t, r)]
    # Backtrack from the end. The comparisons repeat those of the forward pass on the same sums, so
    # the path is exact without a stored matrix of decisions.
    while t or r:
        both_cost = total_TR[t - 1, r - 1] if t and r else np.inf
        clip_cost = total_TR[t - 1, r] if t else np.inf
        reference_cost = total_TR[t, r - 1] if r else np.inf
        if both_cost <= clip_cost and both_cost <= reference_cost:
            t, r = t - 1, r - 1
        elif clip_cost <= reference_cost:
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
        r_RD: Frames of the reference motion.
        gamma: Smoothing in units of a squared distance, above 0; the limit 0 gives DTW.

    Returns:
        value: -gamma times the logarithm of the sum of the weights.
        weights_TR: Gradient of `value` with respect to the squared distances, each row divided by
            its sum. Row t holds the weight of each reference frame for frame t of the clip.
    """
    log_TR = compute_squared_distances(x_TD, r_RD) / -gamma
    log_sums_KTR = _accumulate_costs(np.stack([log_TR, log_TR[::-1, ::-1]]), np.logaddexp, -np.inf)
    log_total = log_sums_KTR[0, -1, -1]
    # Both sums contain the cell's own cost, so it is subtracted once. Dividing by the total weight
    # (subtracting its logarithm) gives the probability that a path passes through the cell.
    expected_TR = np.exp(log_sums_KTR[0] + log_sums_KTR[1, ::-1, ::-1] - log_TR - log_total)
    return float(-gamma * log_total), expected_TR / expected_TR.sum(axis=1, keepdims=True)


def _accumulate_costs(cost_KTR: Floats, combine: np.ufunc, outside_value: float) -> Floats:
    """Accumulate the costs of DTW in each cell of the matrices.

    The value of a cell is its cost plus the combined values of its three preceding cells: those
    with the previous clip frame, the previous reference frame, or both.

    Args:
        cost_KTR: Cost matrices of equal shape, processed together.
        combine: Function that combines two arrays, for example the minimum.
        outside_value: Value of the cells outside of the matrices, the identity of `combine`.

    Returns:
        Accumulated values, float64 (K, T, R).
    """
    _, num_clip_frames, num_reference_frames = cost_KTR.shape
    cost_NKT = _skew_antidiagonals(cost_KTR, outside_value)
    # One extra column in front of the first frame and two extra rows in front of the first diagonal
    # spare the loop all border cases. Therefore diagonal n is row n + 2, and frame t column t + 1.
    total_NKT = np.full((len(cost_NKT) + 2, len(cost_KTR), num_clip_frames + 1), outside_value)
    # The first cell has no predecessor; combining three outside values would make it infinite.
    total_NKT[2, :, 1] = cost_NKT[0, :, 0]
    for n in range(1, len(cost_NKT)):
        # The clip frames on diagonal n.
        start, end = max(0, n - num_reference_frames + 1), min(n + 1, num_clip_frames)
        # Row n holds diagonal n - 2, with (t - 1, r - 1); row n + 1 holds diagonal n - 1, with
        # (t - 1, r) and (t, r - 1).
        both, clip = total_NKT[n, :, start:end], total_NKT[n + 1, :, start:end]
        combined = combine(combine(both, clip), total_NKT[n + 1, :, start + 1 : end + 1])
        np.add(cost_NKT[n, :, start:end], combined, out=total_NKT[n + 2, :, start + 1 : end + 1])
    # Undo the skew: cell (t, r) lies on diagonal t + r.
    rows = np.arange(num_clip_frames)[:, None]
    return np.moveaxis(total_NKT[rows + np.arange(num_reference_frames) + 2, :, rows + 1], 2, 0)


def _skew_antidiagonals(cost_KTR: Floats, outside_value: float) -> Floats:
    """Turn the anti-diagonals of each matrix into rows, (N, K, T).

    The result at [n, k, t] is the cost at [k, t, n - t], or `outside_value` if there is none.
    """
    num_matrices, num_clip_frames, num_reference_frames = cost_KTR.shape
    width = num_clip_frames + num_reference_frames
    padded = np.full((num_matrices, num_clip_frames, width), outside_value)
    padded[:, :, :num_reference_frames] = cost_KTR
    # Each row is filled with T + R values but read with T + R - 1, which shifts every row one
    # column further to the right than the row above it.
    shifted = padded.reshape(num_matrices, -1)[:, : num_clip_frames * (width - 1)]
    return np.ascontiguousarray(
        shifted.reshape(num_matrices, num_clip_frames, width - 1).transpose(2, 0, 1)
    )
