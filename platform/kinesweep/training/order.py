"""Kendall's tau of nearest neighbours: do embeddings keep the order of a movement?

Each frame of a clip finds its nearest in another clip of the same kind; where the movement goes on
these go on too, and tau is 1. It needs no labels of moments, which is why both papers report it
(arXiv 1904.07846, section 5). Movements that go back and forth have less than 1 at best; and what
pads the ends of a clip tells an encoder where it is, which counts too (LOG.md). 200 pairs
of 100 frames take 0.2 s.

Shapes: T frames of the one clip, S of the other, D values a frame.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from kinesweep.batches.pairs import by_kind, no_pairs
from kinesweep.core.errors import InputError
from kinesweep.store.index import ClipRecord


def nearest_frames(a_TD: NDArray[np.floating], b_SD: NDArray[np.floating]) -> NDArray[np.intp]:
    """For each frame of `a` the nearest of `b`, by Euclidean distance; (T,)."""
    a_TD, b_SD = a_TD.astype(np.float64), b_SD.astype(np.float64)
    squares_TS = (b_SD**2).sum(axis=1)[None] - 2 * a_TD @ b_SD.T
    return squares_TS.argmin(axis=1)


def order_kept(a_TD: NDArray[np.floating], b_SD: NDArray[np.floating]) -> float:
    """Tau of `a`'s frames and their nearest in `b`, −1 to 1; 0 where all have the same nearest."""
    near_T = nearest_frames(a_TD, b_SD)
    if len(near_T) < 2 or (near_T == near_T[0]).all():
        return 0.0
    return float(kendalltau(np.arange(len(near_T)), near_T).statistic)


def mean_order(clips: Sequence[NDArray[np.floating]], pairs: Sequence[tuple[int, int]]) -> float:
    """Mean tau over ordered pairs of clips."""
    return float(np.mean([order_kept(clips[a], clips[b]) for a, b in pairs]))


def scored_pairs(records: Sequence[ClipRecord], most: int, split: str) -> list[tuple[int, int]]:
    """Ordered pairs of clips of one kind, at most so many, spread evenly over all there are.

    Raises:
        InputError: there are none.
    """
    every = [pair for places in by_kind(records) for pair in permutations(places, 2)]
    if not every:
        raise InputError(no_pairs(split, len(records)))
    count = min(most, len(every))
    return [every[i * len(every) // count] for i in range(count)]
