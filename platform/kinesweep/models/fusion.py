"""Fusion: prompt, frames of every stream and the end of the sentence, one after another.

Each row's real vectors move together and the padding goes to the right, in one gather for the whole
batch. A mask that is off by one when prompts differ in length would train on padding and differ
between batches; here a row in a batch equals the row alone.

Shapes: B clips, N vectors side by side, M the longest row, E width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def splice(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Joins parts in order, without their padding.

    Args:
        parts: pairs of vectors (B, n, E) and their mask, bool (B, n).

    Returns:
        Vectors (B, M, E), zero where padded, and the mask, bool (B, M), True on the left only.
    """
    x_BNE = torch.cat([x for x, _ in parts], dim=1)
    mask_BN = torch.cat([mask for _, mask in parts], dim=1)
    lengths_B = mask_BN.sum(dim=1)
    longest = int(lengths_B.max())
    # A stable sort of the padding flags keeps the order of what is real.
    order_BM = mask_BN.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    mask_BM = torch.arange(longest, device=x_BNE.device) < lengths_B[:, None]
    x_BME = x_BNE.gather(1, order_BM[:, :, None].expand(-1, -1, x_BNE.shape[2]))
    return x_BME.masked_fill(~mask_BM[:, :, None], 0), mask_BM
