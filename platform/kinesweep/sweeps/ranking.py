"""What can be told apart: differences between configurations, with both of their errors.

A difference has an error between seeds (pooled over configurations, t) and one between sentences
(paired bootstrap over documents). Both are added, with Satterthwaite's degrees of freedom, and both
are shown; one seed's sentences never decide alone. Comparisons with the best are corrected after
Tukey, and what is not separated is a tie.

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
"""Below 0.05: room for the resampling's own error, so that 95 % of equal ones are called a tie."""

Score = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True)
class Entry:
    """One configuration in the finals.

    Attributes:
        name: what it is called.
        seeds: seed → statistics of its sentences (N, K), the same sentences in the same order.
    """

    name: str
    seeds: Mapping[int, NDArray[np.float64]]


@dataclass(frozen=True)
class Rank:
    """One line of a ranking.

    Attributes:
        name: of the configuration.
        mean: score, mean over seeds.
        low: lower end of the 95 % interval of the mean.
        high: its upper end.
        scores: seed → score.
        behind: how far behind the best it is.
        behind_low: lower end of the 95 % interval of that difference, corrected after Tukey like
            the comparison itself.
        behind_high: its upper end.
        seed_error: standard error of that difference from seeds.
        sentence_error: standard error of that difference from sentences.
        p_value: Tukey-corrected, that there is no difference; 1 for the best.
        tied: not told apart from the best.
    """

    name: str
    mean: float
    low: float
    high: float
    scores: dict[int, float]
    behind: float
    behind_low: float
    behind_high: float
    seed_error: float
    sentence_error: float
    p_value: float
    tied: bool


def rank(
    entries: Sequence[Entry], groups: Sequence[str], score: Score, resample_seed: int = 0
) -> list[Rank]:
    """Ranks configurations, the best first.

    Args:
        entries: at least one, each with at least two seeds.
        groups: document of each sentence; sentences of one document are drawn together.
        score: summed statistics (K,) → score, higher is better.
        resample_seed: of the bootstrap.

    Raises:
        InputError: no entries, or one with a single seed.
    """
    if not entries or any(len(entry.seeds) < 2 for entry in entries):
        raise InputError("a ranking needs configurations with at least two seeds each")
    points = {e.name: {s: score(x_NK.sum(0)) for s, x_NK in e.seeds.items()} for e in entries}
    means = {name: float(np.mean(list(scores.values()))) for name, scores in points.items()}
    variance, freedom = pooled([list(scores.values()) for scores in points.values()])
    draws, num_groups = _resampled(entries, groups, score, resample_seed)
    noise = _Noise(variance, freedom, draws, num_groups - 1, len(entries))
    order = sorted(entries, key=lambda entry: (-means[entry.name], entry.name))
    best = order[0]
    return [_line(entry, best, points[entry.name], means, noise) for entry in order]


@dataclass(frozen=True)
class _Noise:
    """Variance between seeds of one run, the bootstrap's means, and their degrees of freedom."""

    seed_variance: float
    seed_freedom: int
    draws: Mapping[str, NDArray[np.float64]]
    sentence_freedom: int
    num_entries: int

    def error(self, per_seed: float, draws_R: NDArray[np.float64]) -> tuple[float, float, float]:
        """Variance from seeds, variance from sentences, Satterthwaite's degrees of freedom."""
        seeds, sentences = self.seed_variance * per_seed, float(np.var(draws_R, ddof=1))
        parts = seeds**2 / max(1, self.seed_freedom) + sentences**2 / max(1, self.sentence_freedom)
        freedom = (seeds + sentences) ** 2 / parts if parts > 0 else float(self.seed_freedom)
        return seeds, sentences, freedom


def _line(
    entry: Entry,
    best: Entry,
    scores: dict[int, float],
    means: Mapping[str, float],
    noise: _Noise,
) -> Rank:
    """One configuration beside the best."""
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
        behind=behind,
        behind_low=low,
        behind_high=high,
        seed_error=seed_error,
        sentence_error=sentence_error,
        p_value=p_value,
        tied=p_value >= _SEPARATED,
    )


def _difference(
    entry: Entry, best: Entry, means: Mapping[str, float], noise: _Noise
) -> tuple[float, float, float, float, float, float]:
    """Best less entry, its interval, its two errors, and Tukey's p."""
    behind = means[best.name] - means[entry.name]
    per_seed = 1 / len(entry.seeds) + 1 / len(best.seeds)
    draws_R = noise.draws[best.name] - noise.draws[entry.name]
    seeds, sentences, freedom = noise.error(per_seed, draws_R)
    spread = float(np.sqrt((seeds + sentences) / 2))
    half = _critical(1 - _LEVEL, noise.num_entries, freedom) * spread
    p_value = 1.0
    if behind > 0:
        q = behind / spread if spread > 0 else np.inf
        p_value = _tail(q, noise.num_entries, freedom)
    errors = float(np.sqrt(seeds)), float(np.sqrt(sentences))
    return behind, behind - half, behind + half, *errors, p_value


def _tail(q: float, num_entries: int, freedom: float) -> float:
    """Chance of a studentized range beyond q; of two it is Student's t."""
    if num_entries <= 2:
        return float(2 * stats.t.sf(q / np.sqrt(2), freedom))
    return float(stats.studentized_range.sf(q, num_entries, freedom))


def _critical(tail: float, num_entries: int, freedom: float) -> float:
    """The studentized range that is passed with this chance."""
    if num_entries <= 2:
        return float(stats.t.isf(tail / 2, freedom) * np.sqrt(2))
    # Two digits of the degrees of freedom change it by less than 1 %, and are looked up.
    return _looked_up(tail, num_entries, float(f"{freedom:.1e}"))


@cache
def _looked_up(tail: float, num_entries: int, freedom: float) -> float:
    return float(stats.studentized_range.isf(tail, num_entries, freedom))


def detectable(
    seed_sd: float, sentence_sd: float, seeds: int, num_entries: int = 2, power: float = 0.8
) -> float:
    """The smallest difference from the best that finals call a difference with such a power.

    Args:
        seed_sd: standard deviation of a score between seeds.
        sentence_sd: standard error of a difference that the choice of sentences causes.
        seeds: runs of each configuration, two or more.
        num_entries: configurations in the finals.
        power: chance to see it.
    """
    freedom = float(num_entries * (seeds - 1))
    variance = seed_sd**2 * 2 / seeds
    error = float(np.sqrt(variance + sentence_sd**2))
    if error == 0:
        return 0.0
    # Sentences are many: their variance adds no doubt of its own to Satterthwaite's formula.
    freedom = freedom * (error**2 / variance) ** 2 if variance > 0 else np.inf
    freedom = min(freedom, 1e4)
    limit = _critical(_SEPARATED, num_entries, freedom) / np.sqrt(2)
    found = optimize.brentq(lambda d: stats.nct.sf(limit, freedom, d) - power, 0.0, 10 * limit)
    return float(found) * error


def pooled(scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Variance between seeds over all configurations, and its degrees of freedom."""
    freedom = sum(len(own) - 1 for own in scores)
    total = sum(float(np.var(own, ddof=1)) * (len(own) - 1) for own in scores)
    return total / freedom, freedom


def _resampled(
    entries: Sequence[Entry], groups: Sequence[str], score: Score, seed: int
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Mean score over seeds in each resample (R,), the same draws for every configuration."""
    names, place_N = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = len(names)
    drawn = generator(seed, "bootstrap").integers(0, num_groups, (_RESAMPLES, num_groups))
    times_RG = np.apply_along_axis(np.bincount, 1, drawn, minlength=num_groups)
    draws = {}
    for entry in entries:
        means_R = np.zeros(_RESAMPLES)
        for x_NK in entry.seeds.values():
            by_group_GK = np.zeros((num_groups, x_NK.shape[1]))
            np.add.at(by_group_GK, place_N, x_NK)
            means_R += [score(total_K) for total_K in times_RG @ by_group_GK]
        draws[entry.name] = means_R / len(entry.seeds)
    return draws, num_groups
