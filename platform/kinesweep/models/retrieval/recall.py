"""Recall@k of texts by clips and of clips by texts, and its level by chance.

Retrieving another clip with the same text counts as correct, because nothing distinguishes them.
Items with equal similarities count against the query, so a model that has collapsed to one vector
finds nothing.

Shapes: Q queries, I items.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]


def compute_ranks(similarity_QI: Matrix, correct_QI: BoolMatrix) -> NDArray[np.int64]:
    """Compute the rank of the best correct item of each query, from 1, int64 (Q,).

    Args:
        similarity_QI: Similarity of each query (rows) to each item.
        correct_QI: True where an item is correct for a query; at least one is.
    """
    # Of several correct items, the one that is found first counts.
    best_Q = np.where(correct_QI, similarity_QI, -np.inf).max(axis=1)
    num_ahead_Q = ((similarity_QI >= best_Q[:, None]) & ~correct_QI).sum(axis=1)
    return 1 + num_ahead_Q


def compute_chance_level(correct_QI: BoolMatrix, rank: int) -> float:
    """Compute the expected recall@k of a random order of the items, 0 to 1.

    It is k/I if each query has one correct item, and higher with several.

    Args:
        correct_QI: True where an item is correct for a query.
        rank: Number k of retrieved items.
    """
    num_items = correct_QI.shape[1]
    num_wrong_Q = num_items - correct_QI.sum(axis=1)
    draws = np.arange(min(rank, num_items))
    # All k draws without replacement are wrong; none can be once the wrong items are used up.
    missed_QK = np.clip(num_wrong_Q[:, None] - draws, 0, None) / (num_items - draws)
    return float(1 - missed_QK.prod(axis=1).mean())
