"""Which evaluation is the best, and when a run has had enough."""

import math
from typing import Any

import pytest

from kinesweep.checkpoints.progress import TrainingProgress, update_progress
from kinesweep.config.recipe.training import TrainingConfig


def after(metric: str, values: list[float], **changes: Any) -> TrainingProgress:
    """The state after these scores of one metric, an evaluation each step of ten."""
    plain = {"max_steps": 100, "eval_steps": 10, "learning_rate": 1e-3, **changes}
    config = TrainingConfig.model_validate({**plain, "metric_for_best_model": metric})
    progress = TrainingProgress()
    for number, value in enumerate(values, 1):
        progress = update_progress(progress, 10 * number, 80 * number, {metric: value}, config)
    return progress


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("token_loss", [3.0, 1.0, 2.0], 20),
        ("bleu", [3.0, 1.0, 2.0], 10),
        ("bleu", [1.0, 3.0, 2.0], 20),
        ("token_loss", [1.0, 1.0], 10),
        ("bleu", [1.0, 1.0], 10),
    ],
)
def test_the_lowest_loss_or_highest_score_is_the_best(
    metric: str, values: list[float], best: int
) -> None:
    found = after(metric, values)
    assert (found.best_step, found.best_scores) == (best, {metric: values[best // 10 - 1]})
    assert (found.step, found.samples) == (10 * len(values), 80 * len(values))
    assert (found.scores, found.stop) == ({metric: values[-1]}, None)


@pytest.mark.parametrize(
    ("metric", "values", "stopped"),
    [
        ("bleu", [1.0, 0.5, 0.5], True),
        ("token_loss", [1.0, 1.5, 1.5], True),
        ("bleu", [1.0, 1.1, 1.2], True),  # better, but by less than the threshold
        ("bleu", [1.0, 1.1, 3.0], False),
        ("token_loss", [3.0, 2.9, 1.0], False),
        ("bleu", [1.0, 0.5, 3.0, 2.0], False),
    ],
)
def test_patience_ends_a_run_that_gets_no_better(
    metric: str, values: list[float], stopped: bool
) -> None:
    patience = {"early_stopping_patience": 2, "early_stopping_threshold": 0.5}
    assert after(metric, values, **patience).stop == ("patience" if stopped else None)


def test_a_small_gain_is_the_best_all_the_same() -> None:
    found = after("bleu", [1.0, 1.1], early_stopping_patience=5, early_stopping_threshold=0.5)
    assert (found.best_step, found.waited) == (20, 1)


def test_what_ends_a_run_besides() -> None:
    assert after("bleu", [1.0] * 10).stop == "max_steps"
    diverged = after("token_loss", [1.0, math.nan])
    assert (diverged.stop, diverged.best_step, diverged.scores) == (
        "diverged",
        10,
        {"token_loss": 1.0},
    )
