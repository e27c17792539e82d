"""Translation with the sign contrastive loss, as in the second stage of SignCL."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kinesweep.config.recipe.objectives.sign_contrastive import SignContrastiveConfig
from kinesweep.models.objectives.base_objective import (
    TrainingObjective,
    average_over_step,
    compute_sign_contrast,
)
from kinesweep.models.training_loss import TranslatorOutput


class SignContrastiveTranslation(TrainingObjective):
    """The translation loss plus the weighted sign contrastive loss; without weights of its own.

    Args:
        config: Settings of the sign contrastive loss.
    """

    def __init__(self, config: SignContrastiveConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self, translator: Any, inputs: Mapping[str, Any], num_items: Tensor | int | None
    ) -> TranslatorOutput:
        """Compute both losses from one pass through the encoders; see `TrainingObjective`."""
        frames: dict[str, Any] = {}
        output: TranslatorOutput = translator.forward(
            # `observe_frames` also keeps the translator from calling this objective again.
            **inputs,
            num_items_in_batch=num_items,
            observe_frames=frames.update,
        )
        assert output.loss is not None
        labels_BL = inputs["labels"]
        loss_B = compute_sign_contrast(frames, labels_BL, self.config)
        output.loss = output.loss + self.config.weight * average_over_step(
            loss_B, labels_BL, num_items
        )
        return output
