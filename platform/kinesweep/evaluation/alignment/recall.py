"""Recall@k of texts by clips and of clips by texts, and its level by chance.

Retrieving another clip with the same text counts as correct, because nothing distinguishes them.
Items with equal similarities count against the query, so a model that has collapsed to one vector
finds nothing.

Shapes: G clips and texts of a split, P width.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]


def compute_ranks(similarity_GG: Matrix, correct_GG: BoolMatrix) -> NDArray[np.int64]:
    """Compute the rank of the best correct item of each query, from 1, int64 (G,).

    Args:
        similarity_GG: Similarity of each query (rows) to each item.
        correct_GG: True where an item is correct for a query; at least one is.
    """
    best_G = np.where(correct_GG, similarity_GG, -np.inf).max(axis=1)
    num_ahead_G = ((similarity_GG >= best_G[:, None]) & ~correct_GG).sum(axis=1)
    return 1 + num_ahead_G


def compute_chance_level(correct_GG: BoolMatrix, rank: int) -> float:
    """Compute the expected recall@k of a random order of the items, 0 to 1.

    It is k/G if all texts differ, and higher with equal texts.

    Args:
        correct_GG: True where an item is correct for a query.
        rank: Number k of retrieved items.
    """
    num_items = len(correct_GG)
    num_wrong_G = num_items - correct_GG.sum(axis=1)
    draws = np.arange(min(rank, num_items))
    # All k draws without replacement are wrong; none can be once the wrong items are used up.
    missed_GK = np.clip(num_wrong_G[:, None] - draws, 0, None) / (num_items - draws)
    return float(1 - missed_GK.prod(axis=1).mean())
