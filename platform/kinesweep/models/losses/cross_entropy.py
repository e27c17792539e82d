"""Label-smoothed cross entropy with labels that are aligned to the logits.

Position l of the logits predicts label l. The shift happens once, in `shift_labels_right`, when the
decoder's input is built. The loss is the sum over scored labels divided by their number in the
whole step, so accumulating 4 batches of 8 clips equals one batch of 32.

Shapes: B clips, L target tokens, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kinesweep.core.batch import IGNORE


def shift_labels_right(labels_BL: Tensor, start_id: int, pad_id: int) -> Tensor:
    """Return the decoder's input, int64 (B, L): the start token, then all labels but the last.

    Args:
        labels_BL: Labels; `IGNORE` where padded.
        start_id: Id of the decoder's start token.
        pad_id: Id that replaces `IGNORE`.
    """
    # `roll` moves the last label to the front, where the start token replaces it.
    inputs_BL = labels_BL.roll(1, dims=1)
    inputs_BL[:, 0] = start_id
    return inputs_BL.masked_fill(inputs_BL == IGNORE, pad_id)


def compute_cross_entropy(
    logits_BLV: Tensor,
    labels_BL: Tensor,
    smoothing: float = 0.0,
    num_items: Tensor | int | None = None,
) -> Tensor:
    """Compute the label-smoothed cross entropy, a scalar in float32 or better.

    Args:
        logits_BLV: Logits; position l predicts label l.
        labels_BL: Labels; `IGNORE` is not scored.
        smoothing: Share of the target that is spread evenly over the vocabulary.
        num_items: Number of scored labels in the whole optimizer step; None: in this batch.
    """
    loss_dtype = torch.promote_types(logits_BLV.dtype, torch.float32)
    total = functional.cross_entropy(
        logits_BLV.flatten(0, 1).to(loss_dtype),
        labels_BL.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="sum",
    )
    items = (labels_BL != IGNORE).sum() if num_items is None else torch.as_tensor(num_items)
    # At least 1: a batch without labels has a loss of 0 instead of NaN.
    return total / items.to(total.device).clamp(min=1)


class TokenSums(NamedTuple):
    """Sums over the scored labels of a batch.

    Attributes:
        loss: Sum of the unsmoothed cross entropy, in nats.
        num_correct: Number of labels whose logit is the highest of its position.
        num_tokens: Number of scored labels.
    """

    loss: float
    num_correct: int
    num_tokens: int


def compute_token_sums(logits_BLV: Tensor, labels_BL: Tensor) -> TokenSums:
    """Compute the sums of loss and correct predictions over the scored labels of a batch.

    Args:
        logits_BLV: Logits; position l predicts label l.
        labels_BL: Labels; `IGNORE` is not scored.
    """
    total = compute_cross_entropy(logits_BLV, labels_BL, num_items=1)
    # `IGNORE` is negative, so no argmax equals it and padding never counts as correct.
    num_correct = (logits_BLV.argmax(-1) == labels_BL).sum()
    return TokenSums(float(total), int(num_correct), int((labels_BL != IGNORE).sum()))
