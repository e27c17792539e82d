"""Ranks and the level of chance against all orders of a few items."""

from itertools import permutations

import numpy as np
import pytest

from kinesweep.models.retrieval.recall import compute_chance_level, compute_ranks


def test_ranks_are_those_of_sorting() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        kinds = rng.integers(0, 5, size=8)
        correct_GG = kinds[:, None] == kinds[None]
        similarity_GG = rng.permuted(np.arange(64.0)).reshape(8, 8)
        orders = np.argsort(-similarity_GG, axis=1)
        wanted = []
        for i, order in enumerate(orders):
            # Items with the query's own text are found as one: the best of them counts.
            wrong = [j for j in order if not correct_GG[i, j]]
            best = max(similarity_GG[i, correct_GG[i]])
            wanted.append(1 + sum(similarity_GG[i, j] > best for j in wrong))
        assert compute_ranks(similarity_GG, correct_GG).tolist() == wanted


def test_a_collapsed_model_finds_nothing() -> None:
    assert compute_ranks(np.ones((4, 4)), np.eye(4, dtype=bool)).tolist() == [4] * 4


@pytest.mark.parametrize("rank", [1, 2, 3, 9])
def test_chance_is_the_mean_of_all_orders(rank: int) -> None:
    kinds = np.array([0, 0, 1, 2, 3])
    correct_GG = kinds[:, None] == kinds[None]
    orders = [*permutations(range(5))]
    hits = [any(row[j] for j in order[:rank]) for row in correct_GG for order in orders]
    assert compute_chance_level(correct_GG, rank) == pytest.approx(np.mean(hits))
