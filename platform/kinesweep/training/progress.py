"""How far a run is, and when it has had enough: a policy with no trainer, clock or file in it.

It lies in every checkpoint, so that patience, best score and samples seen outlive a kill. A run
that decided to stop and was killed before it ended must not go on training; Hugging Face's own
control would (it clears its stop flag whenever training begins).
"""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from kinesweep.core.recipe.training import TrainingConfig

StopReason = Literal["max_steps", "patience", "diverged", "reported"]
LOWER_IS_BETTER = frozenset({"token_loss"})


@dataclass(frozen=True)
class Progress:
    """State of a run after its latest evaluation.

    Attributes:
        step: optimiser steps done.
        samples: clips seen, over all workers, repeats counted.
        best_step: step of the best evaluation; None before the first.
        best_scores: all scores of that evaluation.
        scores: those of the latest one.
        waited: evaluations since one that was better by the threshold.
        stop: why training is over, or None.
    """

    step: int = 0
    samples: int = 0
    best_step: int | None = None
    best_scores: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    waited: int = 0
    stop: StopReason | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def is_better(score: float, best: float, metric: str, threshold: float = 0.0) -> bool:
    """Whether a score beats another by more than a threshold, whichever way is up."""
    gain = best - score if metric in LOWER_IS_BETTER else score - best
    return gain > threshold


def advance(
    progress: Progress, step: int, samples: int, scores: dict[str, float], config: TrainingConfig
) -> Progress:
    """The state after an evaluation.

    Equal scores keep the earlier checkpoint. A small gain makes a new best but is no reason to
    wait longer. A loss that is not finite ends the run: nothing better follows from it.
    """
    now = replace(progress, step=step, samples=samples)
    if not all(math.isfinite(score) for score in scores.values()):
        return replace(now, stop="diverged")
    now = replace(now, scores=dict(scores))
    metric = config.metric_for_best_model
    best = progress.best_scores.get(metric)
    enough = best is None or is_better(
        scores[metric], best, metric, config.early_stopping_threshold
    )
    now = replace(now, waited=0 if enough else progress.waited + 1)
    if best is None or is_better(scores[metric], best, metric):
        now = replace(now, best_step=step, best_scores=dict(scores))
    patience = config.early_stopping_patience
    if patience is not None and now.waited >= patience:
        return replace(now, stop="patience")
    return replace(now, stop="max_steps") if step >= config.max_steps else now
