"""The training loss of a translator: with one reference translation per clip, or with several.

The losses themselves are in `losses`; here the logits are computed for the labels that the chosen
loss needs, and the output of `Translator.forward` is built.

Shapes: B clips, M references of all clips, L target tokens, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput

from kinesweep.models.losses.closest_reference import (
    ReferenceLabels,
    compute_closest_reference_loss,
    find_closest_reference_rows,
)
from kinesweep.models.losses.cross_entropy import compute_cross_entropy
from kinesweep.models.losses.part_loss import PartLoss

ComputeLogits = Callable[..., Tensor]
"""Function that computes logits for a batch whose input vectors it knows.

Called as `(labels_BL) -> logits_BLV`, or as `(labels_ML, clip_M) -> logits_MLV` with the clip that
each of M texts belongs to.
"""


@dataclass
class TranslatorOutput(ModelOutput):
    """The output of `Translator.forward`.

    Attributes:
        loss: Scalar loss.
        logits: Logits (B, L, V), aligned to the labels.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


def compute_translator_output(
    compute_logits: ComputeLogits,
    labels_BL: Tensor,
    references: ReferenceLabels | None,
    smoothing: float,
    num_items: Tensor | int | None,
    part_loss: PartLoss | None = None,
) -> TranslatorOutput:
    """Compute the loss, and the logits of the labels that the loss is computed from.

    Args:
        compute_logits: Function that runs the language model on the batch.
        labels_BL: Labels of each clip's first reference; `IGNORE` where padded.
        references: Labels of all references; each clip is trained on its likeliest one. None: each
            clip is trained on `labels_BL`.
        smoothing: Label smoothing factor.
        num_items: Number of labels in the whole optimizer step, by which the summed loss is
            divided; None: the number of labels in this batch.
        part_loss: Loss of another package, which replaces the cross entropy or is mixed with it.
    """
    if references is None:
        logits_BLV = compute_logits(labels_BL)
        loss = compute_cross_entropy(logits_BLV, labels_BL, smoothing, num_items)
        if part_loss is not None:
            loss = part_loss(loss, logits_BLV, labels_BL, labels_BL, num_items)
        return TranslatorOutput(loss=loss, logits=logits_BLV)
    # Score every reference of every clip, then train on the likeliest of each clip.
    logits_MLV = compute_logits(references.labels_ML, references.clip_M)
    row_B = find_closest_reference_rows(logits_MLV, references)
    logits_BLV, chosen_BL = logits_MLV[row_B], references.labels_ML[row_B]
    loss = compute_closest_reference_loss(logits_BLV, chosen_BL, labels_BL, smoothing, num_items)
    if part_loss is not None:
        loss = part_loss(loss, logits_BLV, chosen_BL, labels_BL, num_items)
    return TranslatorOutput(loss=loss, logits=logits_BLV)
