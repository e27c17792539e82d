"""Losses of other packages: `training.loss` of any kind but ours.

The implementation is a module, built from its section and the label smoothing factor. Called as
`(logits_BLV, labels_BL) -> loss_B`, it returns one loss for each clip, usually the mean over the
clip's labels. The step's loss is averaged here, with the number of labels as weights, because only
then accumulated batches and several workers give the gradient of one large batch.

Shapes: B clips, L target tokens, V vocabulary.
"""

import torch
from torch import Tensor, nn

from kinesweep.config.parts import LossPart, build_part
from kinesweep.core.batch import IGNORE
from kinesweep.core.errors import InputError


def average_over_step(loss_B: Tensor, labels_BL: Tensor, num_items: Tensor | int | None) -> Tensor:
    """Average the losses of clips over an optimizer step, weighted by their numbers of labels.

    With the weights of the translation loss, the result does not depend on how a step is split into
    batches and ranks.

    Args:
        loss_B: Loss of each clip.
        labels_BL: Labels of the clips.
        num_items: Number of labels in the whole step; None: in this batch.

    Returns:
        Scalar; the sum over all batches of a step is the mean loss of the step.
    """
    weight_B = (labels_BL != IGNORE).sum(dim=1)
    items = weight_B.sum() if num_items is None else num_items
    return (weight_B * loss_B).sum() / items


class PartLoss(nn.Module):
    """The loss of another package, mixed with the cross entropy.

    Args:
        config: Section `training.loss`.
        smoothing: Label smoothing factor.

    Raises:
        InputError: If its package is not installed, or its class cannot be imported or built or is
            not a module.
    """

    def __init__(self, config: LossPart, smoothing: float) -> None:
        super().__init__()
        self.config = config
        self.implementation: nn.Module = build_part(
            config, (config, smoothing), nn.Module, "torch.nn.Module"
        )

    def forward(
        self,
        cross_entropy: Tensor,
        logits_BLV: Tensor,
        labels_BL: Tensor,
        weight_labels_BL: Tensor,
        num_items: Tensor | int | None,
    ) -> Tensor:
        """Compute the loss of a batch, a scalar.

        Args:
            cross_entropy: Cross entropy of the batch, already divided by the labels of the step.
            logits_BLV: Logits; position l predicts label l.
            labels_BL: Labels; `IGNORE` is not scored.
            weight_labels_BL: Labels whose number is the weight of each clip.
            num_items: Number of these labels in the whole optimizer step; None: in this batch.

        Raises:
            InputError: If the implementation does not return one loss for each clip, or one
                without a gradient.
        """
        # At least float32, so that losses need not be written for half precision.
        dtype = torch.promote_types(logits_BLV.dtype, torch.float32)
        loss_B = self.implementation(logits_BLV.to(dtype), labels_BL)
        if not isinstance(loss_B, Tensor) or loss_B.shape != labels_BL.shape[:1]:
            found = tuple(loss_B.shape) if isinstance(loss_B, Tensor) else type(loss_B).__name__
            raise InputError(
                f"the loss `{self.config.kind}` must return one value for each of"
                f" {len(labels_BL)} clips, a tensor of shape ({len(labels_BL)},), but returned"
                f" {found}"
            )
        if logits_BLV.requires_grad and not loss_B.requires_grad:
            raise InputError(
                f"the loss `{self.config.kind}` has no gradient; compute it from the logits with"
                " PyTorch, without `detach` or `no_grad`"
            )
        loss = average_over_step(loss_B, weight_labels_BL, num_items)
        share = self.config.share
        # Not multiplied by zero, which would turn an infinite cross entropy into NaN.
        return loss if share == 1 else share * loss + (1 - share) * cross_entropy
