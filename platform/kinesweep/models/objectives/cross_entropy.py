"""Label-smoothed cross entropy on labels that are aligned to the logits.

Position l of the logits predicts label l; the shift is made once, by `shifted_right`, when the
decoder's input is built. The loss is a sum over scored labels divided by their number in the whole
step, so accumulating 4 batches of 8 clips equals one batch of 32.

Shapes: B clips, L target tokens, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kinesweep.core.batch import IGNORE


def shifted_right(labels_BL: Tensor, start_id: int, pad_id: int) -> Tensor:
    """The decoder's input for these labels: the start token, then all labels but the last."""
    inputs_BL = labels_BL.roll(1, dims=1)
    inputs_BL[:, 0] = start_id
    return inputs_BL.masked_fill(inputs_BL == IGNORE, pad_id)


def cross_entropy(
    logits_BLV: Tensor,
    labels_BL: Tensor,
    smoothing: float = 0.0,
    num_items: Tensor | int | None = None,
) -> Tensor:
    """The training loss, a scalar in float32 or better.

    Args:
        logits_BLV: scores before the softmax.
        labels_BL: tokens; `IGNORE` is not scored.
        smoothing: share of the target spread evenly over the vocabulary.
        num_items: scored labels of the whole optimiser step; None: those of this batch.
    """
    at_least_float32 = torch.promote_types(logits_BLV.dtype, torch.float32)
    total = functional.cross_entropy(
        logits_BLV.flatten(0, 1).to(at_least_float32),
        labels_BL.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="sum",
    )
    items = (labels_BL != IGNORE).sum() if num_items is None else torch.as_tensor(num_items)
    return total / items.to(total.device).clamp(min=1)


class TokenSums(NamedTuple):
    """What a batch's tokens add up to.

    Attributes:
        loss: unsmoothed cross entropy, nats.
        right: labels that have the highest of the logits.
        num: scored labels.
    """

    loss: float
    right: int
    num: int


def token_sums(logits_BLV: Tensor, labels_BL: Tensor) -> TokenSums:
    """Loss and right guesses over scored labels, those before each one given."""
    total = cross_entropy(logits_BLV, labels_BL, num_items=1)
    # No logit stands at the place of `IGNORE`, so padding is never right.
    right = (logits_BLV.argmax(-1) == labels_BL).sum()
    return TokenSums(float(total), int(right), int((labels_BL != IGNORE).sum()))
