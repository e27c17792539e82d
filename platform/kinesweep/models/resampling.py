"""Resampling: reads one stream at the time points of another, clip by clip.

A vector represents the middle of an equal share of its clip, so n out of m vectors lie at positions
(t + ½)·m/n - ½, clamped at both ends; with equal lengths nothing changes. Positions are computed in
integers, so padding and other clips of the batch cannot change them by rounding. If m is much
larger than n, vectors in between are skipped: use an encoder's `downsample` to average them.

Shapes: B clips, M vectors of the resampled stream, N vectors of the other stream, E width.
"""

from typing import Literal

import torch
from torch import Tensor


def resample_vectors(
    x_BME: Tensor, mask_BM: Tensor, target_mask_BN: Tensor, method: Literal["nearest", "linear"]
) -> Tensor:
    """Resample a stream's vectors to the time points of another stream, (B, N, E).

    Args:
        x_BME: Vectors of the stream.
        mask_BM: True for real vectors, which are on the left.
        target_mask_BN: Mask of the other stream; output where it is False has no meaning.
        method: "nearest" takes the nearest vector, "linear" interpolates between its neighbors.
    """
    # A clip without real vectors counts as one vector, to avoid a division by zero.
    m_B1 = mask_BM.sum(dim=1, keepdim=True).clamp(min=1)
    n_B1 = target_mask_BN.sum(dim=1, keepdim=True).clamp(min=1)
    # Twice the middle t + ½ of each requested share, to stay in integers.
    twice_N = 2 * torch.arange(target_mask_BN.shape[1], device=x_BME.device) + 1
    if method == "nearest":
        return _gather_vectors(x_BME, (twice_N * m_B1 // (2 * n_B1)).minimum(m_B1 - 1))
    # Positions in units of 1/(2n), clamped to the middles of the first and the last vector.
    unit_B1 = 2 * n_B1
    position_BN = (twice_N * m_B1 - n_B1).clamp(min=0).minimum(unit_B1 * (m_B1 - 1))
    before_BN = position_BN // unit_B1
    weight_BN = (position_BN - before_BN * unit_B1) / unit_B1
    x_BNE = _gather_vectors(x_BME, before_BN)
    after_BNE = _gather_vectors(x_BME, (before_BN + 1).minimum(m_B1 - 1))
    return x_BNE + weight_BN[:, :, None].to(x_BNE.dtype) * (after_BNE - x_BNE)


def _gather_vectors(x_BME: Tensor, indices_BN: Tensor) -> Tensor:
    """Gather the vectors of each clip at the given positions; returns (B, N, E)."""
    return x_BME.gather(1, indices_BN[:, :, None].expand(-1, -1, x_BME.shape[2]))
