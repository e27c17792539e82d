"""The `training` section as a run uses it: steps instead of epochs and ratios.

`kinesweep.data.run_length` computes it, once the feature store is known.
"""

from pydantic import Field

from kinesweep.config.recipe.training import TrainingConfig


class ResolvedTrainingConfig(TrainingConfig):
    """The `training` section as a run uses it, with epochs and ratios resolved to steps."""

    max_steps: int = Field(description="Largest number of training steps.")
    warmup_steps: int = Field(description="Steps of learning rate warmup from 0.")
    eval_steps: int = Field(description="Steps between evaluations.")
    steps_per_epoch: int | None = Field(
        None, description="Steps in an epoch; none if no setting counts epochs."
    )

    @property
    def step_counts(self) -> dict[str, int]:
        """Return the resolved numbers of steps by name, without the one that is not known."""
        names = ("max_steps", "warmup_steps", "eval_steps", "steps_per_epoch")
        return {name: count for name in names if (count := getattr(self, name)) is not None}

    def format_step_counts(self) -> str:
        """Format the resolved numbers of steps and the settings that they come from as a clause."""
        per_epoch = f" of {_format_steps(self.steps_per_epoch)}" if self.steps_per_epoch else ""
        length = _format_steps(self.max_steps)
        if self.num_train_epochs is not None:
            length = f"{_format_epochs(self.num_train_epochs)}{per_epoch} = {length}"
        warmup = f"{_format_steps(self.warmup_steps)} of warmup"
        if self.warmup_ratio is not None:
            warmup += f" ({self.warmup_ratio:g} of all)"
        evaluation = f"an evaluation every {_format_steps(self.eval_steps)}"
        if self.eval_epochs is not None:
            evaluation += f" ({_format_epochs(self.eval_epochs)}{per_epoch})"
        return f"{length}, {warmup}, {evaluation}"


def _format_steps(count: int) -> str:
    """Format a number of steps with its noun."""
    return f"{count:,} step" if count == 1 else f"{count:,} steps"


def _format_epochs(count: float) -> str:
    """Format a number of epochs with its noun."""
    return f"{count:g} epoch" if count == 1 else f"{count:g} epochs"
