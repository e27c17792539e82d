"""Resampling: reads one stream at the time points of another, clip by clip.

A vector represents the middle of an equal share of its clip, so n out of m vectors lie at positions
(t + ½)·m/n - ½, clamped at both ends; with equal lengths nothing changes. Positions are computed in
integers, so padding and other clips of the batch cannot change them by rounding. If m is much
larger than n, vectors in between are skipped: use an encoder's `downsample` to average them.

Shapes: B clips, M vectors given, N vectors requested, E width.
"""

from typing import Literal

import torch
from torch import Tensor


def resample(
    x_BME: Tensor, mask_BM: Tensor, wanted_BN: Tensor, how: Literal["nearest", "linear"]
) -> Tensor:
    """Return a stream's vectors at the time points of another stream, (B, N, E).

    Args:
        x_BME: Vectors of the stream.
        mask_BM: True for real vectors, which are on the left.
        wanted_BN: Mask of the other stream; output where it is False has no meaning.
        how: "nearest" takes the nearest vector, "linear" interpolates between its neighbors.
    """
    # A clip without real vectors counts as one vector, to avoid a division by zero.
    m_B1 = mask_BM.sum(dim=1, keepdim=True).clamp(min=1)
    n_B1 = wanted_BN.sum(dim=1, keepdim=True).clamp(min=1)
    # Twice the middle t + ½ of each requested share, to stay in integers.
    twice_N = 2 * torch.arange(wanted_BN.shape[1], device=x_BME.device) + 1
    if how == "nearest":
        return _at(x_BME, (twice_N * m_B1 // (2 * n_B1)).minimum(m_B1 - 1))
    # Positions in units of 1/(2n), clamped to the middles of the first and the last vector.
    unit_B1 = 2 * n_B1
    place_BN = (twice_N * m_B1 - n_B1).clamp(min=0).minimum(unit_B1 * (m_B1 - 1))
    before_BN = place_BN // unit_B1
    share_BN = (place_BN - before_BN * unit_B1) / unit_B1
    x_BNE = _at(x_BME, before_BN)
    after_BNE = _at(x_BME, (before_BN + 1).minimum(m_B1 - 1))
    return x_BNE + share_BN[:, :, None].to(x_BNE.dtype) * (after_BNE - x_BNE)


def _at(x_BME: Tensor, places_BN: Tensor) -> Tensor:
    """Gather the vectors at these positions, (B, N, E)."""
    return x_BME.gather(1, places_BN[:, :, None].expand(-1, -1, x_BME.shape[2]))
