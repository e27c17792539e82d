"""Ranking of configurations by their mean score over folds, with paired intervals.

Every configuration was trained once on each fold. Runs of different folds share most of their
training clips, so their scores are correlated, and the intervals are rather too narrow.

Shape: F folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from kinesweep.core.hashing import to_canonical_json
from kinesweep.sweeps.journal.journal import Trial
from kinesweep.sweeps.space.parameter import Values

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class ConfigurationScore:
    """The scores of one configuration over all folds.

    Attributes:
        values: Searched parameter → value.
        scores: Score on each fold; None where its trial did not finish.
        mean: Mean over all folds; None unless every fold has a score.
        gap_to_best: Mean difference from the best configuration; None without a mean.
        gap_interval: Bounds of the 95 % interval of the difference, paired over folds; None without
            a mean and for the best itself.
    """

    values: Values
    scores: tuple[float | None, ...]
    mean: float | None = None
    gap_to_best: float | None = None
    gap_interval: tuple[float, float] | None = None


def rank_over_folds(
    trials_by_fold: Sequence[Sequence[Trial]], metric: str, direction_sign: int
) -> tuple[ConfigurationScore, ...]:
    """Rank configurations by their mean score over folds.

    Args:
        trials_by_fold: Trials of each fold's search.
        metric: Name of the score.
        direction_sign: 1 if higher scores are better, else -1.

    Returns:
        Configurations, the best first; those that did not finish on every fold are last.
    """
    values_by_key: dict[str, Values] = {}
    scores_by_key: dict[str, list[float | None]] = {}
    for fold, trials in enumerate(trials_by_fold):
        for trial in trials:
            key = to_canonical_json(trial.values)
            values_by_key.setdefault(key, trial.values)
            scores = scores_by_key.setdefault(key, [None] * len(trials_by_fold))
            if trial.state == "finished":
                scores[fold] = trial.scores.get(metric)
    complete = {
        key: np.array(scores, float) for key, scores in scores_by_key.items() if None not in scores
    }
    ranked = sorted(complete, key=lambda key: -direction_sign * float(complete[key].mean()))
    finished = [
        _compare_with_best(values_by_key[key], complete[key], complete[ranked[0]], key == ranked[0])
        for key in ranked
    ]
    unfinished = [
        ConfigurationScore(values_by_key[key], tuple(scores))
        for key, scores in scores_by_key.items()
        if key not in complete
    ]
    return (*finished, *unfinished)


def _compare_with_best(
    values: Values, scores_F: np.ndarray, best_F: np.ndarray, is_best: bool
) -> ConfigurationScore:
    """Compare a configuration with the best one, fold by fold.

    Args:
        values: Values of the configuration.
        scores_F: Its scores, one for each of F folds.
        best_F: Scores of the best configuration.
        is_best: Whether the configuration is the best one.
    """
    gaps_F = scores_F - best_F
    gap, num_folds = float(gaps_F.mean()), len(gaps_F)
    # Student's t, because the deviation is estimated from as few gaps as there are folds.
    half_width = float(
        stats.t.ppf((1 + _CONFIDENCE) / 2, num_folds - 1) * gaps_F.std(ddof=1) / num_folds**0.5
    )
    interval = None if is_best else (gap - half_width, gap + half_width)
    return ConfigurationScore(
        values, tuple(scores_F.tolist()), float(scores_F.mean()), gap, interval
    )
