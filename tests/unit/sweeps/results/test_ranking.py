"""The ranking knows its noise: simulated finals with known truth."""

import numpy as np
import pytest

from kinesweep.core.errors import InputError
from kinesweep.sweeps.results.ranking import RankedConfiguration, RankingEntry, rank_configurations

SEED_SD = 0.25
NUM_SENTENCES = 150


def mean(total_K: np.ndarray) -> float:
    return float(total_K[0] / total_K[1])


def simulated(
    rng: np.random.Generator, truths: dict[str, float], seeds: int = 3
) -> list[RankedConfiguration]:
    """Finals whose scores are means of sentence scores; sentences are shared, seeds are not."""
    hard_N = rng.normal(0, 3, NUM_SENTENCES)
    entries = []
    for name, truth in truths.items():
        own_N = rng.normal(0, 3, NUM_SENTENCES)
        runs = {}
        for seed in range(seeds):
            x_N = truth + rng.normal(0, SEED_SD) + hard_N + own_N
            runs[seed] = np.stack([x_N, np.ones(NUM_SENTENCES)], axis=1)
        entries.append(RankingEntry(name, runs))
    return rank_configurations(entries, [str(i) for i in range(NUM_SENTENCES)], mean)


@pytest.mark.slow
def test_equal_configurations_are_a_tie() -> None:
    rng = np.random.default_rng(0)
    ties = sum(simulated(rng, {"a": 30, "b": 30, "c": 30})[1].tied for _ in range(30))
    assert ties >= 28


def test_a_clear_difference_is_found_and_ordered() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        lines = simulated(rng, {"worse": 30, "best": 34, "worst": 26})
        assert [line.name for line in lines] == ["best", "worse", "worst"]
        assert not lines[1].tied
        assert not lines[2].tied


def test_both_errors_are_shown_and_cover_the_truth() -> None:
    rng = np.random.default_rng(2)
    lines = simulated(rng, {"a": 30, "b": 29.9})
    other = lines[1]
    assert 0.05 < other.seed_error < 0.6
    assert 0.15 < other.sentence_error < 0.6
    expected = 3 * np.sqrt(2 / NUM_SENTENCES)
    found = [simulated(rng, {"a": 30, "b": 28})[1].sentence_error for _ in range(20)]
    assert np.mean(found) == pytest.approx(expected, rel=0.15)


def test_one_lucky_seed_does_not_decide() -> None:
    ones = np.ones((40, 1))
    base = np.random.default_rng(3).normal(30, 5, (40, 1))
    lucky = {1: np.hstack([base + 6, ones]), 2: np.hstack([base - 4, ones])}
    steady = {1: np.hstack([base, ones]), 2: np.hstack([base + 0.1, ones])}
    lines = rank_configurations(
        [RankingEntry("lucky", lucky), RankingEntry("steady", steady)],
        [str(i) for i in range(40)],
        mean,
    )
    assert lines[0].name == "lucky"
    assert lines[1].tied


def test_documents_are_drawn_whole() -> None:
    rng = np.random.default_rng(4)
    hard = np.repeat(rng.normal(0, 3, 10), 15)
    x_NK = np.stack([30 + hard, np.ones(150)], axis=1)
    entry = RankingEntry("a", {1: x_NK, 2: x_NK + np.array([0.01, 0])})
    loose = rank_configurations([entry], [str(i) for i in range(150)], mean)[0]
    clustered = rank_configurations([entry], [str(i // 15) for i in range(150)], mean)[0]
    assert clustered.high - clustered.low > 2 * (loose.high - loose.low)


def test_a_ranking_needs_two_seeds() -> None:
    with pytest.raises(InputError, match="two seeds"):
        rank_configurations([RankingEntry("a", {1: np.ones((3, 2))})], ["1", "2", "3"], mean)


def test_the_error_between_seeds_is_that_of_both_sides() -> None:
    """Sentences all alike, so only seeds differ: variances 2, 8 and 8, pooled over 1 + 1 + 2."""
    scores = {"best": (30.0, 32.0), "second": (20.0, 24.0), "third": (9.0, 13.0, 11.0)}
    entries = [
        RankingEntry(name, {n: np.tile([score, 1.0], (5, 1)) for n, score in enumerate(own)})
        for name, own in scores.items()
    ]
    best, second, third = rank_configurations(entries, list("abcde"), mean)
    pooled = (2.0 + 8.0 + 8.0) / 4
    assert [line.mean for line in (best, second, third)] == [31.0, 22.0, 11.0]
    assert [line.gap_to_best for line in (best, second, third)] == [0.0, 9.0, 20.0]
    assert second.seed_error == pytest.approx((pooled * (1 / 2 + 1 / 2)) ** 0.5)
    assert third.seed_error == pytest.approx((pooled * (1 / 2 + 1 / 3)) ** 0.5)
    assert third.sentence_error == 0
