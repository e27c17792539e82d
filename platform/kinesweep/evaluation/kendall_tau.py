"""Kendall's tau of nearest neighbors, which measures whether embeddings preserve temporal order.

Each frame of a clip is matched to its nearest neighbor in another clip of the same kind. If the
matches advance with the movement, tau is 1. The score needs no frame labels, which is why both
papers report it (arXiv 1904.07846, section 5). Repetitive movements stay below 1 even at best.
Padding at the ends of a clip reveals positions to an encoder, which counts too (LOG.md). 200 pairs
of 100 frames take 0.2 s.

Shapes: T frames of one clip, S frames of the other, D values per frame.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from kinesweep.core.errors import InputError
from kinesweep.data.pair_sampling import by_kind, no_pairs
from kinesweep.store.format.index import ClipRecord


def nearest_frames(a_TD: NDArray[np.floating], b_SD: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return, for each frame of `a`, the index of the nearest frame of `b` (Euclidean); (T,)."""
    a_TD, b_SD = a_TD.astype(np.float64), b_SD.astype(np.float64)
    # Squared distances without the term |a|², which does not change the argmin.
    squares_TS = (b_SD**2).sum(axis=1)[None] - 2 * a_TD @ b_SD.T
    return squares_TS.argmin(axis=1)


def order_kept(a_TD: NDArray[np.floating], b_SD: NDArray[np.floating]) -> float:
    """Return tau between the frames of `a` and their nearest neighbors in `b`, -1 to 1.

    Returns 0 if all frames have the same nearest neighbor, where tau is undefined.
    """
    near_T = nearest_frames(a_TD, b_SD)
    if len(near_T) < 2 or (near_T == near_T[0]).all():
        return 0.0
    return float(kendalltau(np.arange(len(near_T)), near_T).statistic)


def mean_order(clips: Sequence[NDArray[np.floating]], pairs: Sequence[tuple[int, int]]) -> float:
    """Return the mean tau over ordered pairs of clips."""
    return float(np.mean([order_kept(clips[a], clips[b]) for a, b in pairs]))


def scored_pairs(records: Sequence[ClipRecord], most: int, split: str) -> list[tuple[int, int]]:
    """Return up to `most` ordered pairs of clips of one kind, spread evenly over all such pairs.

    Args:
        records: Clips of the split.
        most: Maximum number of pairs.
        split: Name of the split, for the error message.

    Raises:
        InputError: If no two clips are of the same kind.
    """
    every = [pair for places in by_kind(records) for pair in permutations(places, 2)]
    if not every:
        raise InputError(no_pairs(split, len(records)))
    count = min(most, len(every))
    return [every[i * len(every) // count] for i in range(count)]
