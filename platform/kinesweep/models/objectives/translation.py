"""Translation with a loss of another package, the sign contrastive loss, or both."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kinesweep.config.parts import LossPart
from kinesweep.config.recipe.objectives.sign_contrastive import SignContrastiveConfig
from kinesweep.models.losses.part_loss import PartLoss, average_over_step
from kinesweep.models.objectives.base_objective import TrainingObjective, compute_sign_contrast
from kinesweep.models.training_loss import TranslatorOutput


class TranslationObjective(TrainingObjective):
    """The translation loss, or that of another package, plus the weighted sign contrastive loss.

    Args:
        sign_contrastive: Settings of the sign contrastive loss, as in the second stage of SignCL;
            None: without it.
        loss: Section `training.loss` if another package defines it; None: the cross entropy.
        smoothing: Label smoothing factor.
    """

    def __init__(
        self,
        sign_contrastive: SignContrastiveConfig | None,
        loss: LossPart | None = None,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.sign_contrastive = sign_contrastive
        self.part_loss = None if loss is None else PartLoss(loss, smoothing)

    def forward(
        self, translator: Any, inputs: Mapping[str, Any], num_items: Tensor | int | None
    ) -> TranslatorOutput:
        """Compute all losses from one pass through the encoders; see `TrainingObjective`."""
        frames: dict[str, Any] = {}
        output: TranslatorOutput = translator.forward(
            # `observe_frames` also keeps the translator from calling this objective again.
            **inputs,
            num_items_in_batch=num_items,
            observe_frames=frames.update,
            part_loss=self.part_loss,
        )
        assert output.loss is not None
        if self.sign_contrastive is not None:
            labels_BL = inputs["labels"]
            loss_B = compute_sign_contrast(frames, labels_BL, self.sign_contrastive)
            output.loss = output.loss + self.sign_contrastive.weight * average_over_step(
                loss_B, labels_BL, num_items
            )
        return output
