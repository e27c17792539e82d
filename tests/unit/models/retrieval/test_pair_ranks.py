"""Retrieval scores equal those counted one query at a time; chance is what random ranks give."""

import numpy as np
import pytest

from kinesweep.models.retrieval.pair_ranks import rank_pairs


def unit(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def drawn(seed: int, count: int, texts: int) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    ids = np.concatenate([np.arange(texts), rng.integers(0, texts, count - texts)])
    return unit(rng.normal(size=(count, 6))), unit(rng.normal(size=(texts, 6)))[ids], 7 * ids + 3


def test_ranks_are_those_counted_one_by_one() -> None:
    video, text, ids = drawn(0, 40, 25)
    ranked = rank_pairs(video, text, ids)
    scores = ranked.compute_scores()
    candidates = {int(i): t for i, t in zip(ids, text, strict=True)}
    ranks = []
    for v, i in zip(video, ids, strict=True):
        order = sorted(candidates, key=lambda c: -float(v @ candidates[c]))
        ranks.append(order.index(int(i)) + 1)
    back = []
    for t, i in zip(text, ids, strict=True):
        order = sorted(range(40), key=lambda n: -float(video[n] @ t))
        back.append(1 + next(p for p, n in enumerate(order) if ids[n] == i))
    assert scores["video_text_recall_5"] == pytest.approx(100 * np.mean(np.array(ranks) <= 5))
    assert scores["text_video_recall_10"] == pytest.approx(100 * np.mean(np.array(back) <= 10))
    assert ranked.list_recalls(5).mean() == pytest.approx(scores["recall_5"])
    assert scores["median_rank"] == (np.median(ranks) + np.median(back)) / 2


def test_perfect_pairs_and_a_collapsed_network() -> None:
    _, text, ids = drawn(1, 30, 20)
    perfect = rank_pairs(text, text, ids).compute_scores()
    assert perfect["recall_1"] == 100 and perfect["median_rank"] == 1
    same = np.tile(unit(np.ones((1, 6))), (30, 1))
    collapsed = rank_pairs(same, same, ids).compute_scores()
    assert collapsed["recall_1"] == 0 and collapsed["video_text_median_rank"] == 20


def test_chance_is_the_mean_of_random_ranks() -> None:
    drawn_scores = [rank_pairs(*drawn(seed, 24, 12)).compute_scores() for seed in range(300)]
    for name in ("recall_1", "recall_5", "recall_10"):
        mean = np.mean([scores[name] for scores in drawn_scores])
        chance = np.mean([scores[f"chance_{name}"] for scores in drawn_scores])
        assert mean == pytest.approx(chance, abs=1.5)


def test_chance_without_repeated_texts() -> None:
    scores = rank_pairs(*drawn(0, 20, 20)).compute_scores()
    assert scores["chance_recall_1"] == pytest.approx(5) and scores["chance_recall_10"] == 50
    assert scores["chance_median_rank"] == pytest.approx(10.25)
