"""Sequence contrastive loss: two views of one clip, and how near their frames are in time.

Chen et al., "Frame-wise Action Representations for Long Videos via Sequence Contrastive Learning"
(CARL, CVPR 2022, arXiv 2203.14957). Each frame of one view says which frames of the other are its
own moment; the answer is not one frame but a Gaussian of the timestamps' distance, so neighbours
are no negatives. No pairs of clips and no labels are needed, but what is to be ignored (place,
size, noise) must be varied between the views. The paper: σ² = 10 frames, τ = 0.1, 240 frames.

Shapes: B clips, T frames of the first view, S of the second, E width. Masks are True for frames.
"""

import torch
from torch import Tensor


def sequence_contrastive(
    u_BTE: Tensor,
    u_mask_BT: Tensor,
    u_time_BT: Tensor,
    v_BSE: Tensor,
    v_mask_BS: Tensor,
    v_time_BS: Tensor,
    temperature: float,
    sigma: float,
) -> Tensor:
    """Section 3.3: −Σ_j w_ij log softmax_j(u_i · v_j / τ), mean over the frames of both views.

    w_ij is G(s_i − s_j) over its sum, G the Gaussian of deviation σ, s the timestamps. It is the
    divergence of the similarities from that prior, less the prior's entropy, which has no gradient.

    Args:
        u_BTE: unit vectors of the first views.
        u_mask_BT: their frames.
        u_time_BT: when they were, in frames of the clip.
        v_BSE: unit vectors of the second views.
        v_mask_BS: their frames.
        v_time_BS: when they were.
        temperature: τ.
        sigma: σ, in frames.

    Returns:
        The loss, a number.
    """
    similar_BTS = u_BTE @ v_BSE.transpose(1, 2) / temperature
    apart_BTS = u_time_BT[:, :, None] - v_time_BS[:, None]
    prior_BTS = -(apart_BTS**2) / (2 * sigma**2)
    one = _towards(similar_BTS, prior_BTS, v_mask_BS)
    other = _towards(similar_BTS.transpose(1, 2), prior_BTS.transpose(1, 2), u_mask_BT)
    frames = u_mask_BT.sum() + v_mask_BS.sum()
    real = one.masked_fill(~u_mask_BT, 0).sum() + other.masked_fill(~v_mask_BS, 0).sum()
    return real / frames


def _towards(similar_BTS: Tensor, prior_BTS: Tensor, mask_BS: Tensor) -> Tensor:
    """Cross entropy (B, T) of each frame's similarities under its prior."""
    padding_B1S = ~mask_BS[:, None]
    # A sum of logits, not of Gaussians: far from every frame all of them would be 0.
    weight_BTS = prior_BTS.masked_fill(padding_B1S, float("-inf")).softmax(dim=2)
    log_BTS = similar_BTS.masked_fill(padding_B1S, float("-inf")).log_softmax(dim=2)
    return -(weight_BTS * torch.where(padding_B1S, 0, log_BTS)).sum(dim=2)
