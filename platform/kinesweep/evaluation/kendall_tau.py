"""Kendall's tau of nearest neighbors, which measures whether embeddings preserve temporal order.

Each frame of a clip is matched to its nearest neighbor in another clip of the same motion. If the
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
from kinesweep.data.pair_sampling import format_no_pairs_error, group_by_motion
from kinesweep.store.format.index import ClipRecord


def find_nearest_frames(a_TD: NDArray[np.floating], b_SD: NDArray[np.floating]) -> NDArray[np.intp]:
    """Find the index of the nearest frame of `b` (Euclidean distance) for each frame of `a`.

    Args:
        a_TD: Embeddings of the frames of one clip.
        b_SD: Embeddings of the frames of another clip.

    Returns:
        Indices into the frames of `b`, (T,).
    """
    a_TD, b_SD = a_TD.astype(np.float64), b_SD.astype(np.float64)
    # Squared distances without the term |a|², which does not change the argmin.
    squares_TS = (b_SD**2).sum(axis=1)[None] - 2 * a_TD @ b_SD.T
    return squares_TS.argmin(axis=1)


def compute_tau(a_TD: NDArray[np.floating], b_SD: NDArray[np.floating]) -> float:
    """Compute Kendall's tau between the frames of `a` and their nearest neighbors in `b`.

    Args:
        a_TD: Embeddings of the frames of one clip.
        b_SD: Embeddings of the frames of another clip.

    Returns:
        Tau, -1 to 1; 0 where tau is undefined, because `a` has fewer than two frames or all of
        them have the same nearest neighbor.
    """
    nearest_T = find_nearest_frames(a_TD, b_SD)
    # `kendalltau` returns NaN for a single frame, and if all nearest frames are the same.
    if len(nearest_T) < 2 or (nearest_T == nearest_T[0]).all():
        return 0.0
    return float(kendalltau(np.arange(len(nearest_T)), nearest_T).statistic)


def compute_mean_tau(
    embeddings: Sequence[NDArray[np.floating]], pairs: Sequence[tuple[int, int]]
) -> float:
    """Compute the mean of Kendall's tau over ordered pairs of clips.

    Args:
        embeddings: Frame embeddings of each clip, (T, D).
        pairs: Ordered pairs of indices into `embeddings`; at least one.
    """
    return float(np.mean([compute_tau(embeddings[a], embeddings[b]) for a, b in pairs]))


def select_clip_pairs(
    records: Sequence[ClipRecord], max_pairs: int, split: str
) -> list[tuple[int, int]]:
    """Select up to `max_pairs` ordered pairs of clips that show the same motion.

    If there are more pairs, the selected ones are spread evenly over all of them.

    Args:
        records: Clips of the split.
        max_pairs: Maximum number of pairs.
        split: Name of the split, for the error message.

    Returns:
        Pairs of indices into `records`.

    Raises:
        InputError: If no two clips show the same motion.
    """
    all_pairs = [
        pair for clip_indices in group_by_motion(records) for pair in permutations(clip_indices, 2)
    ]
    if not all_pairs:
        raise InputError(format_no_pairs_error(split, len(records)))
    num_pairs = min(max_pairs, len(all_pairs))
    # Spread evenly over all pairs, so that the limit does not favor the first groups.
    return [all_pairs[i * len(all_pairs) // num_pairs] for i in range(num_pairs)]
