"""The loss of clips with several right texts: that of the text which the model finds likeliest now.

Every reference of a clip is scored against the same frames, and the one with the least mean token
loss (without smoothing) is learnt; no gradient passes through the others. So a model may settle on
one way to say a thing, where one reference after the other pulls it to and fro. Each reference
costs the decoder's work and memory; a corpus of three sentences a clip has three times that.

Which text is learnt, and so how many tokens, is known only after the model has spoken; the number
that divides a step's loss must be known before, alike on all ranks. Hence a clip weighs as many
tokens as its FIRST reference has, whichever is learnt: the loss is the mean of clips' mean token
losses with these weights. It is the same however a step is cut into batches and ranks, and for
clips with one reference it is `cross_entropy`.

Shapes: B clips, R references at the most, M references of all clips, L target tokens, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kinesweep.core.batch import IGNORE


class Choices(NamedTuple):
    """The references of a batch, one a row.

    Attributes:
        labels_ML: their labels.
        clip_M: of each the clip, as a row of the batch; clips in order.
        there_BR: which of them these are.
    """

    labels_ML: Tensor
    clip_M: Tensor
    there_BR: Tensor

    @classmethod
    def of(cls, labels_BRL: Tensor) -> "Choices":
        """Those that are there."""
        there_BR = (labels_BRL != IGNORE).any(dim=2)
        return cls(labels_BRL[there_BR], there_BR.nonzero()[:, 0], there_BR)


@torch.no_grad()
def closest(logits_MLV: Tensor, choices: Choices) -> Tensor:
    """Row of each clip's likeliest reference, int64 (B,); of equal ones the first.

    Args:
        logits_MLV: scores of each reference.
        choices: their labels.
    """
    there_BR = choices.there_BR
    means_BR = logits_MLV.new_full(there_BR.shape, torch.inf, dtype=_precision(logits_MLV))
    means_BR[there_BR] = _means(logits_MLV, choices.labels_ML, 0.0)
    # Rows are numbered clip by clip: those of the clips before, then the place in this one.
    before_B = there_BR.sum(dim=1).cumsum(dim=0) - there_BR.sum(dim=1)
    return before_B + means_BR.argmin(dim=1)


def closest_loss(
    logits_BLV: Tensor,
    chosen_BL: Tensor,
    labels_BL: Tensor,
    smoothing: float = 0.0,
    num_items: Tensor | int | None = None,
) -> Tensor:
    """The training loss, a scalar in float32 or better.

    Args:
        logits_BLV: scores of the chosen choices.
        chosen_BL: their labels; `IGNORE` is not scored.
        labels_BL: of the first references, whose number weighs a clip.
        smoothing: share of the target spread evenly over the vocabulary.
        num_items: labels of the first references of the whole optimiser step; None: of this batch.
    """
    weight_B = (labels_BL != IGNORE).sum(dim=1)
    total = (weight_B * _means(logits_BLV, chosen_BL, smoothing)).sum()
    items = weight_B.sum() if num_items is None else torch.as_tensor(num_items)
    return total / items.to(total.device).clamp(min=1)


def _means(logits_MLV: Tensor, labels_ML: Tensor, smoothing: float) -> Tensor:
    """Mean loss of each row's labels, (M,)."""
    losses_ML = functional.cross_entropy(
        logits_MLV.flatten(0, 1).to(_precision(logits_MLV)),
        labels_ML.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="none",
    ).view(labels_ML.shape)
    return losses_ML.sum(dim=1) / (labels_ML != IGNORE).sum(dim=1)


def _precision(logits: Tensor) -> torch.dtype:
    """Float32 or better."""
    return torch.promote_types(logits.dtype, torch.float32)
