"""Sign contrastive loss: neighboring vectors of a clip are similar, distant ones are not.

Ye et al. 2024, "Improving Gloss-free Sign Language Translation by Reducing Representation Density"
(SignCL, arXiv 2405.14312). The authors' code draws two neighbors and four distant vectors for each
vector; here all pairs are compared, which is the expectation of that loss and needs no random
numbers, at a cost of B · T² distances (16 clips of 500 vectors: 16 MB). Padding takes no part, and
the margin follows the length of each clip and of its text instead of those of the padded batch.

Shapes: B clips, T vectors of a clip, R of them at one time, E width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kinesweep.config.recipe.objectives.sign_contrastive import SignContrastiveConfig

_MAX_DIFFERENCES = 2**24
"""Number of values of differences held at one time in the backward pass, 64 MB in float32."""


def compute_margins(
    num_vectors_B: Tensor, num_tokens_B: Tensor, config: SignContrastiveConfig
) -> Tensor:
    """Compute the distance in time above which two vectors of a clip are negatives, int64 (B,).

    Args:
        num_vectors_B: Number of vectors of each clip.
        num_tokens_B: Number of tokens of its text.
        config: Settings of the loss.
    """
    # A clip without a text still has vectors, and the division must not fail.
    vectors_per_token_B = num_vectors_B // num_tokens_B.clamp(min=1) + 1
    margin_B = (vectors_per_token_B * config.margin_per_token).long()
    longest_B = (num_vectors_B - config.min_negatives) // 2
    # Neighbors, at a distance of 1, are never negatives, however short the clip is.
    return torch.minimum(margin_B.clamp(min=config.min_margin), longest_B).clamp(min=1)


def compute_sign_contrastive_losses(
    x_BTE: Tensor, mask_BT: Tensor, margin_B: Tensor, max_distance: float
) -> Tensor:
    """Compute the loss of each clip, in float32 or better, (B,); 0 for clips without negatives.

    It is the mean over the vectors of softplus(d⁺ − m) + softplus(m − d⁻), with the mean of each
    term over the neighbors and over the negatives of the vector, L1 distances d and the distance m.
    Vectors without negatives, in the middle of a short clip, are left out.

    Args:
        x_BTE: Vectors of the clips.
        mask_BT: Mask of the vectors, bool, True on the left only.
        margin_B: Distance in time above which two vectors are negatives.
        max_distance: Distance m.
    """
    # L1 distances are sums over the width, for which half precision is too coarse.
    x_BTE = x_BTE.to(torch.promote_types(x_BTE.dtype, torch.float32))
    distance_BTT: Tensor = _PairwiseL1.apply(x_BTE)
    position_T = torch.arange(x_BTE.shape[1], device=x_BTE.device)
    gap_TT = (position_T[:, None] - position_T[None]).abs()
    real_BTT = mask_BT[:, :, None] & mask_BT[:, None]
    positive_BTT = real_BTT & (gap_TT == 1)
    negative_BTT = real_BTT & (gap_TT > margin_B[:, None, None])
    positive_BT = _average_pairs(functional.softplus(distance_BTT - max_distance), positive_BTT)
    negative_BT = _average_pairs(functional.softplus(max_distance - distance_BTT), negative_BTT)
    anchor_BT = negative_BTT.any(dim=2)
    # Without negatives, pulling neighbors together would be the whole loss and collapse the clip.
    loss_BT = (positive_BT + negative_BT).masked_fill(~anchor_BT, 0)
    return loss_BT.sum(dim=1) / anchor_BT.sum(dim=1).clamp(min=1)


def _average_pairs(loss_BTT: Tensor, pair_BTT: Tensor) -> Tensor:
    """Average the losses of the pairs of each vector, (B, T); 0 for vectors without a pair."""
    # Filled instead of multiplied: infinity times 0 would be NaN.
    total_BT = loss_BTT.masked_fill(~pair_BTT, 0).sum(dim=2)
    return total_BT / pair_BTT.sum(dim=2).clamp(min=1)


class _PairwiseL1(torch.autograd.Function):
    """L1 distances of all pairs of vectors of each clip, (B, T, T).

    The gradient of `torch.cdist` is not deterministic on GPUs, and differences of all pairs at once
    would take T times the memory of the vectors.
    """

    @staticmethod
    def forward(ctx: Any, x_BTE: Tensor) -> Tensor:
        """Compute the distances; keeps the vectors only."""
        ctx.save_for_backward(x_BTE)
        return torch.cdist(x_BTE, x_BTE, p=1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Sum the signs of the differences, weighted by the gradients of the distances."""
        (x_BTE,) = ctx.saved_tensors
        # A vector is the first of a pair and the second of another with the same distance.
        grad_BTT = grads[0] + grads[0].transpose(1, 2)
        # At least one row, however large the batch is.
        num_rows = max(1, _MAX_DIFFERENCES // max(1, x_BTE.numel()))
        rows = [
            (grad_BRT[..., None] * (x_BRE[:, :, None] - x_BTE[:, None]).sign()).sum(dim=2)
            for grad_BRT, x_BRE in zip(
                grad_BTT.split(num_rows, dim=1), x_BTE.split(num_rows, dim=1), strict=True
            )
        ]
        return torch.cat(rows, dim=1)
