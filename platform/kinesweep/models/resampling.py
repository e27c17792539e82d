"""One stream read at another's moments, each clip with its own two lengths.

A vector stands for the middle of an equal share of its clip, so n vectors out of m lie at
(t + ½)·m/n - ½, held at both ends; equal lengths change nothing. Places are computed in whole
numbers, so padding and neighbours cannot move them by a rounding. Where m is much larger than n,
vectors in between are not seen: take an encoder's `downsample` for their mean.

Shapes: B clips, M vectors given, N vectors wanted, E width.
"""

from typing import Literal

import torch
from torch import Tensor


def resample(
    x_BME: Tensor, mask_BM: Tensor, wanted_BN: Tensor, how: Literal["nearest", "linear"]
) -> Tensor:
    """Vectors of a stream at the moments of another. Returns (B, N, E).

    Args:
        x_BME: the stream's.
        mask_BM: which are real, bool, True on the left only.
        wanted_BN: the other stream's mask; what is given where it is False has no meaning.
        how: the vector that is nearest, or a mixture of the two around.
    """
    m_B1 = mask_BM.sum(dim=1, keepdim=True).clamp(min=1)
    n_B1 = wanted_BN.sum(dim=1, keepdim=True).clamp(min=1)
    twice_N = 2 * torch.arange(wanted_BN.shape[1], device=x_BME.device) + 1
    if how == "nearest":
        return _at(x_BME, (twice_N * m_B1 // (2 * n_B1)).minimum(m_B1 - 1))
    # In units of 1/2n, from the middle of the first vector to that of the last.
    unit_B1 = 2 * n_B1
    place_BN = (twice_N * m_B1 - n_B1).clamp(min=0).minimum(unit_B1 * (m_B1 - 1))
    before_BN = place_BN // unit_B1
    share_BN = (place_BN - before_BN * unit_B1) / unit_B1
    x_BNE = _at(x_BME, before_BN)
    after_BNE = _at(x_BME, (before_BN + 1).minimum(m_B1 - 1))
    return x_BNE + share_BN[:, :, None].to(x_BNE.dtype) * (after_BNE - x_BNE)


def _at(x_BME: Tensor, places_BN: Tensor) -> Tensor:
    """Vectors at places, (B, N, E)."""
    return x_BME.gather(1, places_BN[:, :, None].expand(-1, -1, x_BME.shape[2]))
