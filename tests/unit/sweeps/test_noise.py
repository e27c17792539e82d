"""How often a ranking is right, in simulated finals whose truth is known.

Scores are means over sentences. Noise between seeds has a standard deviation of 0.25, noise of
sentences one of 0.5: `paired` when all configurations find the same sentences hard, which cancels
in a difference, `own` when the difference itself has it.
"""

import numpy as np
import pytest

from kinesweep.core.seeds import create_generator
from kinesweep.sweeps.results.ranking import (
    RankedConfiguration,
    RankingEntry,
    rank_configurations,
)
from kinesweep.sweeps.results.tukey_test import compute_min_detectable_difference

pytestmark = pytest.mark.integration

SEED_SD, SENTENCE_SD, SENTENCES = 0.25, 0.5, 120
GROUPS = [str(number) for number in range(SENTENCES)]


def mean(total_K: np.ndarray) -> float:
    return float(total_K[0] / total_K[1])


def finals(
    rng: np.random.Generator, truths: list[float], seeds: int, noise: str
) -> list[RankedConfiguration]:
    """One simulated final; the first configuration is called `0`."""
    spread = SENTENCE_SD * np.sqrt(SENTENCES)
    shared_N = rng.normal(0, spread, SENTENCES)
    entries = []
    for number, truth in enumerate(truths):
        own_N = rng.normal(0, spread / np.sqrt(2), SENTENCES)
        hard_N = shared_N if noise == "paired" else own_N
        runs = {}
        for seed in range(seeds):
            x_N = truth + rng.normal(0, SEED_SD) + hard_N
            runs[seed] = np.stack([x_N, np.ones(SENTENCES)], axis=1)
        entries.append(RankingEntry(str(number), runs))
    return rank_configurations(entries, GROUPS, mean, resample_seed=int(rng.integers(2**31)))


def repeated(
    name: str, truths: list[float], seeds: int, noise: str, times: int
) -> list[list[RankedConfiguration]]:
    """Many of them."""
    rng = create_generator(0, name)
    return [finals(rng, truths, seeds, noise) for _ in range(times)]


def covered(lines: list[RankedConfiguration], gap: float) -> bool:
    """Whether the interval of the second one's distance holds the truth."""
    truth = gap if lines[0].name == "1" else -gap
    return lines[1].gap_low <= truth <= lines[1].gap_high


@pytest.mark.proof
@pytest.mark.parametrize("noise", ["paired", "own"])
def test_2000_finals(noise: str) -> None:
    gap = 0.4
    found = repeated("coverage", [0.0, gap], 3, noise, 2000)
    share = np.mean([covered(lines, gap) for lines in found])
    print(f"{noise}: intervals cover the truth in {share:.2%}")
    assert 0.93 <= share <= 0.97


@pytest.mark.proof
@pytest.mark.parametrize("noise", ["paired", "own"])
@pytest.mark.parametrize("count", [2, 5])
def test_2000_finals_of_equals_are_ties(noise: str, count: int) -> None:
    found = repeated(f"ties {count}", [0.0] * count, 3, noise, 2000)
    share = np.mean([all(line.tied for line in lines) for lines in found])
    print(f"{noise}, {count} equal ones: called a tie in {share:.2%}")
    assert share >= 0.95


@pytest.mark.proof
@pytest.mark.parametrize(("seeds", "power"), [(3, 0.75), (5, 0.95)])
def test_2000_finals_of_two_that_differ_by_three_sd(seeds: int, power: float) -> None:
    found = repeated(f"power {seeds}", [0.0, 3 * SEED_SD], seeds, "paired", 2000)
    share = np.mean([lines[0].name == "1" and not lines[1].tied for lines in found])
    print(f"3 sd apart, {seeds} seeds: separated in {share:.2%}")
    assert share >= power


@pytest.mark.parametrize(
    ("seeds", "noise"),
    [
        (3, "own"),
        pytest.param(3, "paired", marks=pytest.mark.proof),
        pytest.param(5, "paired", marks=pytest.mark.proof),
    ],
)
def test_what_can_be_detected_is_detected_as_often_as_it_says(seeds: int, noise: str) -> None:
    gap = compute_min_detectable_difference(
        SEED_SD, 0.0 if noise == "paired" else SENTENCE_SD, seeds
    )
    found = repeated(f"detectable {seeds}", [0.0, gap], seeds, noise, 300)
    share = np.mean([lines[0].name == "1" and not lines[1].tied for lines in found])
    assert 0.73 <= share <= 0.87


def test_more_seeds_and_fewer_rivals_see_smaller_differences() -> None:
    found = [compute_min_detectable_difference(1.0, 0.5, seeds) for seeds in (2, 3, 5, 10)]
    assert found == sorted(found, reverse=True)
    assert compute_min_detectable_difference(1.0, 0.5, 3, num_entries=5) > 0
    assert compute_min_detectable_difference(1.0, 1.0, 3) > compute_min_detectable_difference(
        1.0, 0.5, 3
    )
    assert compute_min_detectable_difference(0.0, 0.0, 3) == 0


@pytest.mark.slow
def test_short_finals() -> None:
    """The same shares, roughly, in few repetitions: what each change is checked with."""
    apart = repeated("short", [0.0, 0.4], 3, "own", 100)
    assert np.mean([covered(lines, 0.4) for lines in apart]) >= 0.90
    equal = repeated("short ties", [0.0] * 4, 3, "own", 30)
    assert np.mean([all(line.tied for line in lines) for lines in equal]) >= 0.88
    far = repeated("short power", [0.0, 3 * SEED_SD], 5, "paired", 50)
    assert np.mean([not lines[1].tied for lines in far]) >= 0.88
