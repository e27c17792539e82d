"""Numbers of steps and learning rates of a pretraining run: pure functions of recipe and step."""

import math
from dataclasses import dataclass

from kinesweep.config.pretraining.training import PretrainingLoopConfig
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig


@dataclass(frozen=True)
class PretrainingSchedule:
    """The numbers of steps of a run, resolved from epochs and ratios, and its learning rates.

    Attributes:
        max_steps: Number of steps of the run.
        warmup_steps: Number of steps of the warmup.
        eval_steps: Steps between evaluations.
        windows_per_step: Number of windows of a step, of all workers.
        steps_per_epoch: Number of steps in which every clip is read once; a fraction in general.
        peak_learning_rate: Learning rate after the warmup.
        config: The recipe's `training` section.
    """

    max_steps: int
    warmup_steps: int
    eval_steps: int
    windows_per_step: int
    steps_per_epoch: float
    peak_learning_rate: float
    config: PretrainingLoopConfig

    def compute_learning_rate(self, step: int) -> float:
        """Compute the learning rate of a step.

        Args:
            step: Number of steps done before.
        """
        peak, floor = self.peak_learning_rate, self.config.min_learning_rate
        if step < self.warmup_steps:
            # Counted from 1: a first step with a rate of 0 would change nothing.
            return peak * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, self.max_steps - self.warmup_steps)
        if self.config.lr_scheduler_type == "constant":
            return peak
        if self.config.lr_scheduler_type == "linear":
            return floor + (peak - floor) * (1 - share)
        # Half a cosine from the peak to the floor, as in the published training of MAE.
        return floor + (peak - floor) * (1 + math.cos(math.pi * share)) / 2

    @property
    def step_counts(self) -> dict[str, int]:
        """Return the resolved numbers of steps by name."""
        names = ("max_steps", "warmup_steps", "eval_steps")
        return {name: getattr(self, name) for name in names}

    def as_run_config(self, metric: str) -> ResolvedTrainingConfig:
        """Return the settings that decide on the best step and on the end of training.

        Args:
            metric: Name of the score that selects the best checkpoint.
        """
        return ResolvedTrainingConfig(
            max_steps=self.max_steps,
            warmup_steps=self.warmup_steps,
            eval_steps=self.eval_steps,
            metric_for_best_model=metric,
            early_stopping_patience=self.config.early_stopping_patience,
        )


def resolve_schedule(
    config: PretrainingLoopConfig, windows_per_step: int, windows_per_epoch: int
) -> PretrainingSchedule:
    """Resolve epochs and ratios to steps, and the peak learning rate.

    Args:
        config: The recipe's `training` section.
        windows_per_step: Number of windows of a step, of all workers.
        windows_per_epoch: Number of windows in an epoch.
    """
    steps_per_epoch = windows_per_epoch / windows_per_step

    def count_steps(steps: int | None, epochs: float | None) -> int:
        """Return a number of steps, which is given as such or in epochs."""
        if steps is not None:
            return steps
        assert epochs is not None
        # The tolerance keeps 1.1 epochs of 70 steps (77.00000000000001) from becoming 78 steps.
        return max(1, math.ceil(epochs * steps_per_epoch - 1e-9))

    max_steps = count_steps(config.max_steps, config.num_train_epochs)
    warmup_steps = config.warmup_steps
    if warmup_steps is None:
        assert config.warmup_ratio is not None
        warmup_steps = math.ceil(max_steps * config.warmup_ratio - 1e-9)
    return PretrainingSchedule(
        max_steps,
        warmup_steps,
        count_steps(config.eval_steps, config.eval_epochs),
        windows_per_step,
        steps_per_epoch,
        config.compute_peak_learning_rate(windows_per_step),
        config,
    )
