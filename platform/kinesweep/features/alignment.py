"""Which frame of a reference belongs to each frame of a clip: best window, DTW, soft-DTW.

Two motions of one width come in, a pairing goes out that carries any stream of the reference over
to the clip's frames. A window keeps the reference's pace and finds where it begins; DTW lets it run
faster or slower; soft-DTW takes the mean over all warpings, so that near ties are shared and not
tossed up. Costs are sums of squared distances.

Distances are SciPy's, direct and not by |x|² + |r|² - 2xr, which would round equal frames apart.
Pairs of 100 frames × 66 values take on one core, distances included: window 0.3 ms, DTW 1.1 ms,
soft-DTW 3.5 ms. A window cannot follow a learner who slows down; DTW can, and hides that he does.

Shapes: T frames of the clip, R of the reference, K pairs of a path, D values a frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from kinesweep.core.errors import InputError
from kinesweep.features.warping import Floats, Places, cheapest_path, mean_path


@dataclass(frozen=True)
class Pairing:
    """One frame of the reference for each of the clip.

    Attributes:
        indices_T: which.
        cost: sum of squared distances over what was compared.
    """

    indices_T: Places
    cost: float

    def of(self, r_RD: NDArray[np.float32]) -> NDArray[np.float32]:
        """A stream of the reference at the clip's frames, (T, D)."""
        return r_RD[self.indices_T]


@dataclass(frozen=True)
class Window(Pairing):
    """A stretch as long as the shorter motion.

    Attributes:
        offset: frame of the reference that the clip's first belongs to; negative where the
            reference begins within the clip.
    """

    offset: int


@dataclass(frozen=True)
class Warp(Pairing):
    """A path through all frames of both.

    Attributes:
        path_K2: pairs of a clip's and a reference's frame, in order.
    """

    path_K2: Places


@dataclass(frozen=True)
class SoftWarp:
    """All paths at once.

    Attributes:
        expected_TR: share of the paths, as they weigh, that pair two frames.
        cost: as soft-DTW defines it; below DTW's, and with small gamma near it.
    """

    expected_TR: Floats
    cost: float

    def of(self, r_RD: NDArray[np.float32]) -> NDArray[np.float32]:
        """A stream of the reference at the clip's frames, (T, D): means of its frames."""
        shares_TR = self.expected_TR / self.expected_TR.sum(axis=1, keepdims=True)
        return (shares_TR @ r_RD).astype(np.float32)


def same_moments(num_frames: int, num_reference: int) -> Places:
    """Frame of the reference that is as far in it as each of the clip's, (T,); nothing compared.

    A frame stands for the middle of its share of the time; equal lengths pair frame by frame.
    """
    return (2 * np.arange(num_frames) + 1) * num_reference // (2 * num_frames)


def best_window(x_TD: ArrayLike, r_RD: ArrayLike) -> Window:
    """The stretch of the longer motion that is nearest to the shorter; of equal ones the first.

    Frames of a longer clip that lie outside of the stretch get the reference's first or last.

    Raises:
        InputError: no frames, other widths, or values that are no finite numbers.
    """
    costs_TR = _squared_distances(x_TD, r_RD)
    frames, others = costs_TR.shape
    turned = frames > others
    costs_SL = np.ascontiguousarray(costs_TR.T) if turned else costs_TR
    short, long = costs_SL.shape
    row, column = costs_SL.strides
    stretches_OS = np.lib.stride_tricks.as_strided(
        costs_SL, (long - short + 1, short), (column, row + column), writeable=False
    )
    sums_O = stretches_OS.sum(axis=1)
    best = int(sums_O.argmin())
    offset = -best if turned else best
    indices_T = (np.arange(frames) + offset).clip(0, others - 1)
    return Window(indices_T, float(sums_O[best]), offset)


def dtw(x_TD: ArrayLike, r_RD: ArrayLike) -> Warp:
    """The cheapest path from both first frames to both last, each step one on in one or both.

    Of equally cheap steps the one on in both is taken, else that on in the clip. Of several frames
    of the reference that the path pairs with one of the clip, the nearest is its own, the first of
    equals.

    Raises:
        InputError: see `best_window`.
    """
    costs_TR = _squared_distances(x_TD, r_RD)
    path_K2, cost = cheapest_path(costs_TR)
    return Warp(_nearest(path_K2, costs_TR), cost, path_K2)


def soft_dtw(x_TD: ArrayLike, r_RD: ArrayLike, gamma: float) -> SoftWarp:
    """The mean over all paths of `dtw`, cheap ones counting more.

    Args:
        x_TD: the clip.
        r_RD: the reference.
        gamma: how much dearer a path is, in squared distance, that counts e times less.

    Raises:
        InputError: see `best_window`; or gamma is not above 0.
    """
    if not gamma > 0:
        raise InputError(f"`gamma` must be above 0, but is {gamma}; for 0 take DTW")
    return SoftWarp(*mean_path(_squared_distances(x_TD, r_RD), gamma))


def _squared_distances(x_TD: ArrayLike, r_RD: ArrayLike) -> Floats:
    """Of each frame of one from each of the other, (T, R).

    Raises:
        InputError: see `best_window`.
    """
    x, r = np.asarray(x_TD, np.float64), np.asarray(r_RD, np.float64)
    if x.ndim != 2 or r.ndim != 2 or x.shape[1] != r.shape[1] or not (len(x) and len(r)):
        raise InputError(
            f"motions of shapes {x.shape} and {r.shape} cannot be aligned; both need frames, and"
            " as many values in each"
        )
    if not (np.isfinite(x).all() and np.isfinite(r).all()):
        raise InputError("motions with values that are no finite numbers cannot be aligned")
    return cdist(x, r, "sqeuclidean")


def _nearest(path_K2: Places, costs_TR: Floats) -> Places:
    """Of the frames of the reference that each of the clip is paired with, the nearest."""
    t_K, r_K = path_K2.T
    order_K = np.lexsort((r_K, costs_TR[t_K, r_K], t_K))
    _, firsts_T = np.unique(t_K[order_K], return_index=True)
    return r_K[order_K][firsts_T]
