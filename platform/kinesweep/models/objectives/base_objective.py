"""Training objectives: what `Translator.forward` computes besides, or instead of, its own loss.

An objective is attached to a translator while it is trained (`attachment`), so the Trainer, data
parallelism and sharding treat its weights like the model's.

Shapes: B clips, T vectors of a stream, L target tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from kinesweep.config.recipe.objectives.sign_contrastive import SignContrastiveConfig
from kinesweep.core.batch import IGNORE
from kinesweep.models.fusion import MaskedVectors
from kinesweep.models.losses.sign_contrastive import (
    compute_margins,
    compute_sign_contrastive_losses,
)
from kinesweep.models.training_loss import TranslatorOutput


class TrainingObjective(nn.Module, ABC):
    """Computes the training loss of a translator; may have weights of its own.

    Attributes:
        replaces_translation: Whether the translator does not learn to translate.
    """

    replaces_translation: ClassVar[bool] = False

    @abstractmethod
    def forward(
        self, translator: Any, inputs: Mapping[str, Any], num_items: Tensor | int | None
    ) -> TranslatorOutput:
        """Compute the loss of a batch.

        Args:
            translator: Translator that the objective is attached to.
            inputs: Arguments of `Translator.forward`: streams, masks, texts, labels and clip ids.
            num_items: Number of labels in the whole optimizer step; None: in this batch.
        """


def compute_sign_contrast(
    frames: Mapping[str, MaskedVectors], labels_BL: Tensor, config: SignContrastiveConfig
) -> Tensor:
    """Compute the sign contrastive loss of each clip, averaged over its streams, (B,).

    Args:
        frames: Stream → its encoded vectors and their mask.
        labels_BL: Labels of the clips; `IGNORE` where padded.
        config: Settings of the loss.
    """
    # The text stands for the number of signs, which nobody has annotated.
    num_tokens_B = (labels_BL != IGNORE).sum(dim=1)
    losses = []
    for x_BTE, mask_BT in frames.values():
        margin_B = compute_margins(mask_BT.sum(dim=1), num_tokens_B, config)
        losses.append(
            compute_sign_contrastive_losses(x_BTE, mask_BT, margin_B, config.max_distance)
        )
    # Averaged, so that the weight does not depend on the number of streams.
    return sum(losses[1:], start=losses[0]) / len(losses)
