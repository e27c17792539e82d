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
from kinesweep.core.seeds import create_generator

_NUM_RESAMPLES = 1000
_CONFIDENCE_LEVEL = 0.95
_SIGNIFICANCE_LEVEL = 0.045
"""Significance level, below 0.05 to leave room for the error of the resampling itself.

With it, 95 % of equal configurations are reported as ties."""

ScoreFunction = Callable[[NDArray[np.float64]], float]


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
class RankedConfiguration:
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


def rank_configurations(
    entries: Sequence[RankingEntry],
    groups: Sequence[str],
    score: ScoreFunction,
    resample_seed: int = 0,
) -> list[RankedConfiguration]:
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
    scores_by_entry = {
        e.name: {s: score(x_NK.sum(0)) for s, x_NK in e.seeds.items()} for e in entries
    }
    means = {
        name: float(np.mean(list(scores.values()))) for name, scores in scores_by_entry.items()
    }
    variance, dof = compute_pooled_variance(
        [list(scores.values()) for scores in scores_by_entry.values()]
    )
    bootstrap_means, num_groups = _bootstrap_mean_scores(entries, groups, score, resample_seed)
    noise = _NoiseEstimate(variance, dof, bootstrap_means, num_groups - 1, len(entries))
    ranked_entries = sorted(entries, key=lambda entry: (-means[entry.name], entry.name))
    best = ranked_entries[0]
    return [
        _compare_with_best(entry, best, scores_by_entry[entry.name], means, noise)
        for entry in ranked_entries
    ]


@dataclass(frozen=True)
class _NoiseEstimate:
    """Noise of a ranking: variance between seeds, bootstrap means and degrees of freedom."""

    seed_variance: float
    seed_dof: int
    bootstrap_means: Mapping[str, NDArray[np.float64]]
    sentence_dof: int
    num_entries: int

    def compute_variances(
        self, per_seed: float, draws_R: NDArray[np.float64]
    ) -> tuple[float, float, float]:
        """Return the variances due to seeds and sentences, and Satterthwaite's degrees of freedom.

        Args:
            per_seed: Factor of the seed variance, 1 / seeds summed over the means involved.
            draws_R: Bootstrap values of the mean or the difference (R,).
        """
        seeds, sentences = self.seed_variance * per_seed, float(np.var(draws_R, ddof=1))
        parts = seeds**2 / max(1, self.seed_dof) + sentences**2 / max(1, self.sentence_dof)
        # Without any noise the formula is 0 / 0.
        dof = (seeds + sentences) ** 2 / parts if parts > 0 else float(self.seed_dof)
        return seeds, sentences, dof


def _compare_with_best(
    entry: RankingEntry,
    best: RankingEntry,
    scores: dict[int, float],
    means: Mapping[str, float],
    noise: _NoiseEstimate,
) -> RankedConfiguration:
    """Return one line of the ranking: mean, interval, and the comparison with the best."""
    seeds, sentences, dof = noise.compute_variances(
        1 / len(entry.seeds), noise.bootstrap_means[entry.name]
    )
    half_width = float(stats.t.ppf(0.5 + _CONFIDENCE_LEVEL / 2, dof) * np.sqrt(seeds + sentences))
    mean = means[entry.name]
    no_difference = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    gap, low, high, seed_error, sentence_error, p_value = (
        no_difference if entry is best else _compute_gap_to_best(entry, best, means, noise)
    )
    return RankedConfiguration(
        name=entry.name,
        mean=mean,
        low=mean - half_width,
        high=mean + half_width,
        scores=scores,
        gap_to_best=gap,
        gap_low=low,
        gap_high=high,
        seed_error=seed_error,
        sentence_error=sentence_error,
        p_value=p_value,
        tied=p_value >= _SIGNIFICANCE_LEVEL,
    )


def _compute_gap_to_best(
    entry: RankingEntry, best: RankingEntry, means: Mapping[str, float], noise: _NoiseEstimate
) -> tuple[float, float, float, float, float, float]:
    """Return the difference from the best, its interval, its two errors and Tukey's p-value."""
    gap = means[best.name] - means[entry.name]
    per_seed = 1 / len(entry.seeds) + 1 / len(best.seeds)
    # Subtracted per resample: both configurations were scored on the same sentences, so their
    # common ups and downs cancel.
    draws_R = noise.bootstrap_means[best.name] - noise.bootstrap_means[entry.name]
    seeds, sentences, dof = noise.compute_variances(per_seed, draws_R)
    # The studentized range divides by the standard error of one mean, not of the difference of
    # two, whose variance is twice as large.
    standard_error = float(np.sqrt((seeds + sentences) / 2))
    half_width = (
        _compute_critical_value(1 - _CONFIDENCE_LEVEL, noise.num_entries, dof) * standard_error
    )
    p_value = 1.0
    # The best mean is the largest, so the difference is never negative; equal means are ties.
    if gap > 0:
        q = gap / standard_error if standard_error > 0 else np.inf
        p_value = _compute_tail_probability(q, noise.num_entries, dof)
    errors = float(np.sqrt(seeds)), float(np.sqrt(sentences))
    return gap, gap - half_width, gap + half_width, *errors, p_value


def _compute_tail_probability(q: float, num_entries: int, dof: float) -> float:
    """Return the probability that the studentized range exceeds q; Student's t for two entries."""
    if num_entries <= 2:
        return float(2 * stats.t.sf(q / np.sqrt(2), dof))
    return float(stats.studentized_range.sf(q, num_entries, dof))


def _compute_critical_value(tail_probability: float, num_entries: int, dof: float) -> float:
    """Return the value that the studentized range exceeds with probability `tail_probability`."""
    if num_entries <= 2:
        return float(stats.t.isf(tail_probability / 2, dof) * np.sqrt(2))
    # Rounding to two digits changes the value by less than 1 %, and results can be cached.
    return _compute_cached_critical_value(tail_probability, num_entries, float(f"{dof:.1e}"))


@cache
def _compute_cached_critical_value(tail_probability: float, num_entries: int, dof: float) -> float:
    """Compute the critical value for more than two entries; cached, because it is slow."""
    return float(stats.studentized_range.isf(tail_probability, num_entries, dof))


def compute_min_detectable_difference(
    seed_sd: float, sentence_sd: float, num_seeds: int, num_entries: int = 2, power: float = 0.8
) -> float:
    """Return the smallest difference from the best that the finals detect with a given power.

    Args:
        seed_sd: Standard deviation of a score between seeds.
        sentence_sd: Standard error of a difference that is due to the choice of sentences.
        num_seeds: Number of runs of each configuration, at least two.
        num_entries: Number of configurations in the finals.
        power: Probability of detecting the difference.
    """
    dof = float(num_entries * (num_seeds - 1))
    variance = seed_sd**2 * 2 / num_seeds
    error = float(np.sqrt(variance + sentence_sd**2))
    if error == 0:
        return 0.0
    # The number of sentences is large: the sentence variance counts as known exactly and adds no
    # term to the denominator of Satterthwaite's formula.
    dof = dof * (error**2 / variance) ** 2 if variance > 0 else np.inf
    # Beyond 10,000 degrees of freedom t is practically normal, and infinity would break `nct`.
    dof = min(dof, 1e4)
    critical_t = _compute_critical_value(_SIGNIFICANCE_LEVEL, num_entries, dof) / np.sqrt(2)
    # Power is the tail of the noncentral t distribution; solve for its noncentrality.
    noncentrality = optimize.brentq(
        lambda d: stats.nct.sf(critical_t, dof, d) - power, 0.0, 10 * critical_t
    )
    return float(noncentrality) * error


def compute_pooled_variance(scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the pooled variance between seeds and its degrees of freedom."""
    dof = sum(len(own) - 1 for own in scores)
    weighted_sum = sum(float(np.var(own, ddof=1)) * (len(own) - 1) for own in scores)
    return weighted_sum / dof, dof


def _bootstrap_mean_scores(
    entries: Sequence[RankingEntry], groups: Sequence[str], score: ScoreFunction, seed: int
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Bootstrap documents and return each configuration's mean score over seeds per resample.

    All configurations share the same draws, which makes the bootstrap paired.

    Returns:
        Name of the configuration → mean scores (R,), and the number of groups.
    """
    names, group_index_N = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = len(names)
    drawn_groups = create_generator(seed, "bootstrap").integers(
        0, num_groups, (_NUM_RESAMPLES, num_groups)
    )
    # Number of times that each group was drawn. Statistics are additive, so a resample's score
    # needs only weighted sums and no text.
    counts_RG = np.apply_along_axis(np.bincount, 1, drawn_groups, minlength=num_groups)
    bootstrap_means = {}
    for entry in entries:
        means_R = np.zeros(_NUM_RESAMPLES)
        for x_NK in entry.seeds.values():
            by_group_GK = np.zeros((num_groups, x_NK.shape[1]))
            # `+=` with repeated indices would add only the last row of each group.
            np.add.at(by_group_GK, group_index_N, x_NK)
            means_R += [score(total_K) for total_K in counts_RG @ by_group_GK]
        bootstrap_means[entry.name] = means_R / len(entry.seeds)
    return bootstrap_means, num_groups
