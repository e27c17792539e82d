"""Statistical ranking of configurations, with significance tests of their differences.

A difference has an error between seeds (variance pooled over configurations, t distribution) and an
error between sentences (paired bootstrap over documents). Both variances are added, with
Satterthwaite's degrees of freedom, and both errors are reported, so the sentences of a single seed
never decide alone. Comparisons with the best configuration are Tukey-corrected; differences that
are not significant are reported as ties.

Shapes: R resamples, G groups (documents), N sentences, K statistics of a sentence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from kinesweep.core.errors import InputError
from kinesweep.core.seeds import generator

_RESAMPLES = 1000
_LEVEL = 0.95
_SEPARATED = 0.045
"""Significance level, below 0.05 to leave room for the error of the resampling itself.

With it, 95 % of equal configurations are reported as ties."""

Score = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True)
class RankingEntry:
    """A configuration with the data that is needed to rank it.

    Attributes:
        name: Display name.
        seeds: Seed → statistics of its sentences (N, K); all seeds have the same sentence order.
    """

    name: str
    seeds: Mapping[int, NDArray[np.float64]]


@dataclass(frozen=True)
class Rank:
    """One line of a ranking.

    Attributes:
        name: Name of the configuration.
        mean: Mean score over seeds.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end of that interval.
        scores: Seed → score.
        gap_to_best: Difference between the best mean and this one.
        gap_low: Lower end of the 95 % interval of that difference, Tukey-corrected like the
            test itself.
        gap_high: Upper end of that interval.
        seed_error: Standard error of the difference that is due to seeds.
        sentence_error: Standard error of the difference that is due to sentences.
        p_value: Tukey-corrected p-value of no difference; 1 for the best configuration.
        tied: Whether the difference from the best configuration is not significant.
    """

    name: str
    mean: float
    low: float
    high: float
    scores: dict[int, float]
    gap_to_best: float
    gap_low: float
    gap_high: float
    seed_error: float
    sentence_error: float
    p_value: float
    tied: bool


def rank(
    entries: Sequence[RankingEntry], groups: Sequence[str], score: Score, resample_seed: int = 0
) -> list[Rank]:
    """Rank configurations from best to worst.

    Args:
        entries: Configurations, at least one, each with at least two seeds.
        groups: Document of each sentence; sentences of one document are resampled together.
        score: Function from summed statistics (K,) to a score; higher is better.
        resample_seed: Random seed of the bootstrap.

    Raises:
        InputError: If there are no entries, or one has a single seed.
    """
    if not entries or any(len(entry.seeds) < 2 for entry in entries):
        raise InputError("a ranking needs configurations with at least two seeds each")
    points = {e.name: {s: score(x_NK.sum(0)) for s, x_NK in e.seeds.items()} for e in entries}
    means = {name: float(np.mean(list(scores.values()))) for name, scores in points.items()}
    variance, freedom = pooled_variance([list(scores.values()) for scores in points.values()])
    draws, num_groups = _resampled(entries, groups, score, resample_seed)
    noise = _Noise(variance, freedom, draws, num_groups - 1, len(entries))
    order = sorted(entries, key=lambda entry: (-means[entry.name], entry.name))
    best = order[0]
    return [_line(entry, best, points[entry.name], means, noise) for entry in order]


@dataclass(frozen=True)
class _Noise:
    """The noise of a ranking: variance between seeds, bootstrap means and degrees of freedom."""

    seed_variance: float
    seed_freedom: int
    draws: Mapping[str, NDArray[np.float64]]
    sentence_freedom: int
    num_entries: int

    def error(self, per_seed: float, draws_R: NDArray[np.float64]) -> tuple[float, float, float]:
        """Return the variances due to seeds and sentences, and Satterthwaite's degrees of freedom.

        Args:
            per_seed: Factor of the seed variance, 1 / seeds summed over the means involved.
            draws_R: Bootstrap values of the mean or the difference (R,).
        """
        seeds, sentences = self.seed_variance * per_seed, float(np.var(draws_R, ddof=1))
        parts = seeds**2 / max(1, self.seed_freedom) + sentences**2 / max(1, self.sentence_freedom)
        # Without any noise the formula is 0 / 0.
        freedom = (seeds + sentences) ** 2 / parts if parts > 0 else float(self.seed_freedom)
        return seeds, sentences, freedom


def _line(
    entry: RankingEntry,
    best: RankingEntry,
    scores: dict[int, float],
    means: Mapping[str, float],
    noise: _Noise,
) -> Rank:
    """Compare one configuration with the best."""
    seeds, sentences, freedom = noise.error(1 / len(entry.seeds), noise.draws[entry.name])
    half = float(stats.t.ppf(0.5 + _LEVEL / 2, freedom) * np.sqrt(seeds + sentences))
    mean = means[entry.name]
    alone = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    behind, low, high, seed_error, sentence_error, p_value = (
        alone if entry is best else _difference(entry, best, means, noise)
    )
    return Rank(
        name=entry.name,
        mean=mean,
        low=mean - half,
        high=mean + half,
        scores=scores,
        gap_to_best=behind,
        gap_low=low,
        gap_high=high,
        seed_error=seed_error,
        sentence_error=sentence_error,
        p_value=p_value,
        tied=p_value >= _SEPARATED,
    )


def _difference(
    entry: RankingEntry, best: RankingEntry, means: Mapping[str, float], noise: _Noise
) -> tuple[float, float, float, float, float, float]:
    """Return the difference from the best, its interval, its two errors and Tukey's p-value."""
    behind = means[best.name] - means[entry.name]
    per_seed = 1 / len(entry.seeds) + 1 / len(best.seeds)
    # Subtracted per resample: both configurations were scored on the same sentences, so their
    # common ups and downs cancel.
    draws_R = noise.draws[best.name] - noise.draws[entry.name]
    seeds, sentences, freedom = noise.error(per_seed, draws_R)
    # The studentized range divides by the standard error of one mean, not of the difference of
    # two, whose variance is twice as large.
    spread = float(np.sqrt((seeds + sentences) / 2))
    half = _critical(1 - _LEVEL, noise.num_entries, freedom) * spread
    p_value = 1.0
    # The best mean is the largest, so the difference is never negative; equal means are ties.
    if behind > 0:
        q = behind / spread if spread > 0 else np.inf
        p_value = _tail(q, noise.num_entries, freedom)
    errors = float(np.sqrt(seeds)), float(np.sqrt(sentences))
    return behind, behind - half, behind + half, *errors, p_value


def _tail(q: float, num_entries: int, freedom: float) -> float:
    """Return the upper tail of the studentized range at q; for two entries it is Student's t."""
    if num_entries <= 2:
        return float(2 * stats.t.sf(q / np.sqrt(2), freedom))
    return float(stats.studentized_range.sf(q, num_entries, freedom))


def _critical(tail: float, num_entries: int, freedom: float) -> float:
    """Return the value that the studentized range exceeds with a probability."""
    if num_entries <= 2:
        return float(stats.t.isf(tail / 2, freedom) * np.sqrt(2))
    # Rounding to two digits changes the value by less than 1 %, and results can be cached.
    return _looked_up(tail, num_entries, float(f"{freedom:.1e}"))


@cache
def _looked_up(tail: float, num_entries: int, freedom: float) -> float:
    """Compute the value for more than two entries; slow, hence cached."""
    return float(stats.studentized_range.isf(tail, num_entries, freedom))


def min_detectable_difference(
    seed_sd: float, sentence_sd: float, seeds: int, num_entries: int = 2, power: float = 0.8
) -> float:
    """Return the smallest difference from the best that the finals detect with a given power.

    Args:
        seed_sd: Standard deviation of a score between seeds.
        sentence_sd: Standard error of a difference that is due to the choice of sentences.
        seeds: Number of runs of each configuration, at least two.
        num_entries: Number of configurations in the finals.
        power: Probability of detecting the difference.
    """
    freedom = float(num_entries * (seeds - 1))
    variance = seed_sd**2 * 2 / seeds
    error = float(np.sqrt(variance + sentence_sd**2))
    if error == 0:
        return 0.0
    # The number of sentences is large: the sentence variance counts as known exactly and adds no
    # term to the denominator of Satterthwaite's formula.
    freedom = freedom * (error**2 / variance) ** 2 if variance > 0 else np.inf
    # Beyond 10,000 degrees of freedom t is practically normal, and infinity would break `nct`.
    freedom = min(freedom, 1e4)
    limit = _critical(_SEPARATED, num_entries, freedom) / np.sqrt(2)
    # Power is the tail of the noncentral t distribution; solve for its noncentrality.
    found = optimize.brentq(lambda d: stats.nct.sf(limit, freedom, d) - power, 0.0, 10 * limit)
    return float(found) * error


def pooled_variance(scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the pooled variance between seeds and its degrees of freedom."""
    freedom = sum(len(own) - 1 for own in scores)
    total = sum(float(np.var(own, ddof=1)) * (len(own) - 1) for own in scores)
    return total / freedom, freedom


def _resampled(
    entries: Sequence[RankingEntry], groups: Sequence[str], score: Score, seed: int
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Return the mean score over seeds of each configuration in each resample (R,).

    All configurations share the same draws, which makes the bootstrap paired.

    Returns:
        Name of the configuration → mean scores (R,), and the number of groups.
    """
    names, place_N = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = len(names)
    drawn = generator(seed, "bootstrap").integers(0, num_groups, (_RESAMPLES, num_groups))
    # Number of times that each group was drawn. Statistics are additive, so a resample's score
    # needs only weighted sums and no text.
    times_RG = np.apply_along_axis(np.bincount, 1, drawn, minlength=num_groups)
    draws = {}
    for entry in entries:
        means_R = np.zeros(_RESAMPLES)
        for x_NK in entry.seeds.values():
            by_group_GK = np.zeros((num_groups, x_NK.shape[1]))
            # `+=` with repeated indices would add only the last row of each group.
            np.add.at(by_group_GK, place_N, x_NK)
            means_R += [score(total_K) for total_K in times_RG @ by_group_GK]
        draws[entry.name] = means_R / len(entry.seeds)
    return draws, num_groups
