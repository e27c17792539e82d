"""Tukey's test of the difference between the best of several means and another one, and its power.

The studentized range is the distribution of the largest difference between several equal means, so
the test is corrected for the selection of the best.
"""

from functools import cache

import numpy as np
from scipy import optimize, stats

SIGNIFICANCE_LEVEL = 0.045
"""Significance level, below 0.05 to leave room for the error of the resampling itself.

With it, 95 % of equal configurations are reported as ties."""


def compute_tail_probability(q: float, num_entries: int, dof: float) -> float:
    """Return the probability that the studentized range of several equal means exceeds a value.

    Args:
        q: Value, a difference in units of the standard error of one mean.
        num_entries: Number of means.
        dof: Degrees of freedom of the standard error.
    """
    # Of two means the range is that of a t test, which is faster to compute.
    if num_entries <= 2:
        return float(2 * stats.t.sf(q / np.sqrt(2), dof))
    return float(stats.studentized_range.sf(q, num_entries, dof))


def compute_critical_value(tail_probability: float, num_entries: int, dof: float) -> float:
    """Return the value that the studentized range of means exceeds with a given probability.

    For more than two means the degrees of freedom are rounded to two digits, so the value is exact
    to 1 %.

    Args:
        tail_probability: Probability of exceeding the value.
        num_entries: Number of means.
        dof: Degrees of freedom of the standard error.
    """
    if num_entries <= 2:
        return float(stats.t.isf(tail_probability / 2, dof) * np.sqrt(2))
    # Rounded so that results can be cached.
    return _compute_cached_critical_value(tail_probability, num_entries, float(f"{dof:.1e}"))


@cache
def _compute_cached_critical_value(tail_probability: float, num_entries: int, dof: float) -> float:
    """Return the critical value for more than two means; cached, because it is slow."""
    return float(stats.studentized_range.isf(tail_probability, num_entries, dof))


def compute_min_detectable_difference(
    seed_sd: float, sentence_sd: float, num_seeds: int, num_entries: int = 2, power: float = 0.8
) -> float:
    """Return the smallest difference from the best mean that finals detect with a given power.

    Args:
        seed_sd: Standard deviation of a score between seeds.
        sentence_sd: Standard error of a difference that is due to the choice of sentences.
        num_seeds: Number of runs of each configuration, at least two.
        num_entries: Number of configurations in the finals.
        power: Probability of detecting the difference.
    """
    dof = float(num_entries * (num_seeds - 1))
    seed_variance = seed_sd**2 * 2 / num_seeds
    standard_error = float(np.sqrt(seed_variance + sentence_sd**2))
    if standard_error == 0:
        return 0.0
    # The number of sentences is large: the sentence variance counts as known exactly and adds no
    # term to the denominator of Satterthwaite's formula.
    dof = dof * (standard_error**2 / seed_variance) ** 2 if seed_variance > 0 else np.inf
    # Beyond 10,000 degrees of freedom t is practically normal, and infinity would break `nct`.
    dof = min(dof, 1e4)
    critical_t = compute_critical_value(SIGNIFICANCE_LEVEL, num_entries, dof) / np.sqrt(2)
    # Power is the tail of the noncentral t distribution; solve for its noncentrality.
    noncentrality = optimize.brentq(
        lambda candidate: stats.nct.sf(critical_t, dof, candidate) - power, 0.0, 10 * critical_t
    )
    return float(noncentrality) * standard_error
