"""Progress and early stopping of a run: a pure policy without trainer, clock or files.

The state is part of every checkpoint, so patience, best score and number of samples survive a kill.
A run that decided to stop and was killed before it ended must not continue training. Hugging Face's
control would continue, because it clears its stop flag whenever training begins.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.core.scores import is_lower_better

StopReason = Literal["max_steps", "patience", "diverged", "reported"]


@dataclass(frozen=True)
class TrainingProgress:
    """The state of a run after its latest evaluation.

    Attributes:
        step: Number of optimizer steps done.
        samples: Number of clips seen by all workers, counting repetitions.
        best_step: Step of the best evaluation; None before the first one.
        best_scores: All scores of the best evaluation.
        scores: All scores of the latest evaluation.
        waited: Number of evaluations since the last one that improved by more than the threshold.
        stop: Reason why training has ended, or None.
    """

    step: int = 0
    samples: int = 0
    best_step: int | None = None
    best_scores: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    waited: int = 0
    stop: StopReason | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values for `progress.json`."""
        return asdict(self)


def is_better_score(
    score: float, best_score: float, lower_is_better: bool, threshold: float = 0.0
) -> bool:
    """Return whether a score improves on the best one so far by more than a threshold.

    Args:
        score: New score.
        best_score: Best score so far.
        lower_is_better: Whether a lower score is better.
        threshold: Minimum improvement.
    """
    gain = best_score - score if lower_is_better else score - best_score
    return gain > threshold


def update_progress(
    progress: TrainingProgress,
    step: int,
    samples: int,
    scores: dict[str, float],
    config: ResolvedTrainingConfig,
    lower_is_better: bool | None = None,
) -> TrainingProgress:
    """Return the state of a run after an evaluation, without changing `progress`.

    `stop` is set to the reason why the run ends: a score that is not finite (`diverged`; the scores
    are then not stored), exhausted patience, or `max_steps`, in this order. Of equal scores the
    earlier checkpoint stays the best one. An improvement below the threshold makes a new best
    checkpoint but does not reset patience.

    Args:
        progress: State before the evaluation.
        step: Number of optimizer steps done.
        samples: Number of clips seen by all workers, counting repetitions.
        scores: All scores of the evaluation, which must include the metric for the best model.
        config: Number of steps, early stopping, and metric for the best model.
        lower_is_better: Whether a lower score of that metric is better; None: as known for the
            platform's own scores.
    """
    updated = replace(progress, step=step, samples=samples)
    # The scores of a diverged model are not stored: `scores` and `best_scores` stay finite.
    if not all(math.isfinite(score) for score in scores.values()):
        return replace(updated, stop="diverged")
    updated = replace(updated, scores=dict(scores))
    metric = config.metric_for_best_model
    if lower_is_better is None:
        lower_is_better = is_lower_better(metric)
    # Read from `progress`: both comparisons below refer to the best score before this evaluation.
    best_score = progress.best_scores.get(metric)
    resets_patience = best_score is None or is_better_score(
        scores[metric], best_score, lower_is_better, config.early_stopping_threshold
    )
    updated = replace(updated, waited=0 if resets_patience else progress.waited + 1)
    if best_score is None or is_better_score(scores[metric], best_score, lower_is_better):
        updated = replace(updated, best_step=step, best_scores=dict(scores))
    # Patience takes precedence over `max_steps` as the reason where both apply.
    patience = config.early_stopping_patience
    if patience is not None and updated.waited >= patience:
        return replace(updated, stop="patience")
    return replace(updated, stop="max_steps") if step >= config.max_steps else updated
