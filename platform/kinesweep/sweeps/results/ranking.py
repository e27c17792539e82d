"""Statistical ranking of configurations, with significance tests of their differences.

A difference has an error between seeds (variance pooled over configurations, t distribution) and an
error between sentences (paired bootstrap over documents). Both variances are added, with
Satterthwaite's degrees of freedom, and both errors are reported, so the sentences of a single seed
never decide alone. Comparisons with the best configuration are Tukey-corrected; differences that
are not significant are reported as ties.

Shapes: R resamples, G groups (documents), N sentences, K statistics of a sentence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kinesweep.core.errors import InputError
from kinesweep.core.seeds import create_generator
from kinesweep.sweeps.results.noise_estimate import NoiseEstimate
from kinesweep.sweeps.results.tukey_test import (
    SIGNIFICANCE_LEVEL,
    compute_critical_value,
    compute_tail_probability,
)

_NUM_RESAMPLES = 1000
_CONFIDENCE_LEVEL = 0.95
ScoreFunction = Callable[[NDArray[np.float64]], float]
"""Function from statistics summed over sentences (K,) to a score."""


@dataclass(frozen=True)
class RankingEntry:
    """A configuration with the data that is needed to rank it.

    Attributes:
        name: Display name.
        statistics_by_seed: Seed → statistics of its sentences (N, K), always in the same order.
    """

    name: str
    statistics_by_seed: Mapping[int, NDArray[np.float64]]


@dataclass(frozen=True)
class RankedConfiguration:
    """A configuration in a ranking, with its comparison with the best configuration.

    Attributes:
        name: Name of the configuration.
        mean: Mean score over seeds.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end of that interval.
        scores: Seed → score.
        gap_to_best: Difference between the best mean and this one; 0 for the best configuration.
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
    compute_score: ScoreFunction,
    num_resamples: int = _NUM_RESAMPLES,
    resample_seed: int = 0,
    *,
    sign: int = 1,
) -> list[RankedConfiguration]:
    """Rank configurations from best to worst and compare each of them with the best.

    Args:
        entries: Configurations, at least one, each with at least two seeds.
        groups: Document of each sentence; sentences of one document are resampled together.
        compute_score: Function from summed statistics to a score.
        num_resamples: Number of resamples of the bootstrap.
        resample_seed: Random seed of the bootstrap.
        sign: 1 if higher scores are better, -1 if lower ones are.

    Raises:
        InputError: If there are no entries, or one has a single seed.
    """
    if not entries or any(len(entry.statistics_by_seed) < 2 for entry in entries):
        raise InputError("a ranking needs configurations with at least two seeds each")

    # Below, more is better; `_restore_sign` returns the scores of the metric.
    def compute_signed_score(total_K: NDArray[np.float64]) -> float:
        return sign * compute_score(total_K)

    scores_by_entry = {
        entry.name: {
            seed: compute_signed_score(x_NK.sum(0))
            for seed, x_NK in entry.statistics_by_seed.items()
        }
        for entry in entries
    }
    means = {
        name: float(np.mean(list(scores.values()))) for name, scores in scores_by_entry.items()
    }
    seed_variance, seed_dof = compute_pooled_variance(
        [list(scores.values()) for scores in scores_by_entry.values()]
    )
    bootstrap_means, num_groups = _bootstrap_mean_scores(
        entries, groups, compute_signed_score, num_resamples, resample_seed
    )
    noise = NoiseEstimate(seed_variance, seed_dof, bootstrap_means, num_groups - 1, len(entries))
    ranked_entries = sorted(entries, key=lambda entry: (-means[entry.name], entry.name))
    best = ranked_entries[0]
    ranking = [
        _compare_with_best(entry, best, scores_by_entry[entry.name], means, noise)
        for entry in ranked_entries
    ]
    return ranking if sign > 0 else [_restore_sign(ranked) for ranked in ranking]


def _restore_sign(ranked: RankedConfiguration) -> RankedConfiguration:
    """Return a configuration that was ranked by negated scores with the scores themselves."""
    scores = {seed: -score for seed, score in ranked.scores.items()}
    # The gap stays positive: it says how much worse a configuration is than the best one.
    return replace(ranked, mean=-ranked.mean, low=-ranked.high, high=-ranked.low, scores=scores)


class _GapToBest(NamedTuple):
    """A difference from the best mean; see `RankedConfiguration` for the fields."""

    difference: float
    low: float
    high: float
    seed_error: float
    sentence_error: float
    p_value: float


_NO_GAP = _GapToBest(0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""Comparison of the best configuration with itself."""


def _compare_with_best(
    entry: RankingEntry,
    best: RankingEntry,
    scores: dict[int, float],
    means: Mapping[str, float],
    noise: NoiseEstimate,
) -> RankedConfiguration:
    """Return a configuration with its interval and its comparison with the best configuration.

    Args:
        entry: Configuration.
        best: Configuration with the highest mean.
        scores: Seed → score of the configuration.
        means: Name of a configuration → mean score over its seeds.
        noise: Noise of the ranking.
    """
    variances = noise.compute_error_variances(
        1 / len(entry.statistics_by_seed), noise.bootstrap_means[entry.name]
    )
    half_width = float(
        stats.t.ppf(0.5 + _CONFIDENCE_LEVEL / 2, variances.dof)
        * np.sqrt(variances.seeds + variances.sentences)
    )
    mean = means[entry.name]
    gap = _NO_GAP if entry is best else _compute_gap_to_best(entry, best, means, noise)
    return RankedConfiguration(
        name=entry.name,
        mean=mean,
        low=mean - half_width,
        high=mean + half_width,
        scores=scores,
        gap_to_best=gap.difference,
        gap_low=gap.low,
        gap_high=gap.high,
        seed_error=gap.seed_error,
        sentence_error=gap.sentence_error,
        p_value=gap.p_value,
        tied=gap.p_value >= SIGNIFICANCE_LEVEL,
    )


def _compute_gap_to_best(
    entry: RankingEntry, best: RankingEntry, means: Mapping[str, float], noise: NoiseEstimate
) -> _GapToBest:
    """Return the difference of a configuration from the best one, with a Tukey-corrected test."""
    difference = means[best.name] - means[entry.name]
    inverse_seed_count = 1 / len(entry.statistics_by_seed) + 1 / len(best.statistics_by_seed)
    # Subtracted per resample: both configurations were scored on the same sentences, so their
    # common ups and downs cancel.
    differences_R = noise.bootstrap_means[best.name] - noise.bootstrap_means[entry.name]
    seeds, sentences, dof = noise.compute_error_variances(inverse_seed_count, differences_R)
    # The studentized range divides by the standard error of one mean, not of the difference of
    # two, whose variance is twice as large.
    standard_error = float(np.sqrt((seeds + sentences) / 2))
    half_width = (
        compute_critical_value(1 - _CONFIDENCE_LEVEL, noise.num_entries, dof) * standard_error
    )
    p_value = 1.0
    # The best mean is the largest, so the difference is never negative; equal means are ties.
    if difference > 0:
        q = difference / standard_error if standard_error > 0 else np.inf
        p_value = compute_tail_probability(q, noise.num_entries, dof)
    return _GapToBest(
        difference=difference,
        low=difference - half_width,
        high=difference + half_width,
        seed_error=float(np.sqrt(seeds)),
        sentence_error=float(np.sqrt(sentences)),
        p_value=p_value,
    )


def compute_pooled_variance(scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the variance between seeds, pooled over configurations, and its degrees of freedom.

    Args:
        scores: Scores of each configuration, one for each of its two or more seeds.
    """
    dof = sum(len(seed_scores) - 1 for seed_scores in scores)
    weighted_sum = sum(
        float(np.var(seed_scores, ddof=1)) * (len(seed_scores) - 1) for seed_scores in scores
    )
    return weighted_sum / dof, dof


def _bootstrap_mean_scores(
    entries: Sequence[RankingEntry],
    groups: Sequence[str],
    compute_score: ScoreFunction,
    num_resamples: int,
    resample_seed: int,
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Resample documents, and compute the mean score of each configuration in each resample.

    All configurations share the same draws, which makes the bootstrap paired. The arguments are
    those of `rank_configurations`.

    Returns:
        Name of the configuration → mean scores over its seeds (R,), and the number of groups.
    """
    names, group_index_N = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = len(names)
    drawn_groups = create_generator(resample_seed, "bootstrap").integers(
        0, num_groups, (num_resamples, num_groups)
    )
    # Number of times that each group was drawn. Statistics are additive, so a resample's score
    # needs only weighted sums and no text.
    counts_RG = np.apply_along_axis(np.bincount, 1, drawn_groups, minlength=num_groups)
    bootstrap_means = {}
    for entry in entries:
        means_R = np.zeros(num_resamples)
        for x_NK in entry.statistics_by_seed.values():
            by_group_GK = np.zeros((num_groups, x_NK.shape[1]))
            # `+=` with repeated indices would add only the last row of each group.
            np.add.at(by_group_GK, group_index_N, x_NK)
            means_R += [compute_score(total_K) for total_K in counts_RG @ by_group_GK]
        bootstrap_means[entry.name] = means_R / len(entry.statistics_by_seed)
    return bootstrap_means, num_groups
