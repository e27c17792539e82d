"""Sequence contrastive loss: two views of one clip, compared by the temporal distance of frames.

Chen et al., "Frame-wise Action Representations for Long Videos via Sequence Contrastive Learning"
(CARL, CVPR 2022, arXiv 2203.14957). For each frame of one view the network predicts the matching
frames of the other view. The target is a Gaussian of the distance in time rather than one frame, so
neighboring frames are not negatives. The loss needs neither pairs of clips nor labels, but whatever
the embedding should ignore (position, size, noise) must be varied between the views. Values in the
paper: σ² = 10 frames, τ = 0.1, 240 frames.

Shapes: B clips, T frames of the first view, S of the second, E width. Masks are True for frames.
"""

import torch
from torch import Tensor


def compute_sequence_contrastive_loss(
    u_BTE: Tensor,
    u_mask_BT: Tensor,
    u_time_BT: Tensor,
    v_BSE: Tensor,
    v_mask_BS: Tensor,
    v_time_BS: Tensor,
    *,
    temperature: float,
    sigma: float,
) -> Tensor:
    """Compute −Σ_j w_ij log softmax_j(u_i · v_j / τ), averaged over the frames of both views.

    See section 3.3 of the paper. w_ij is G(s_i − s_j) normalized over j, with a Gaussian G of
    standard deviation σ and timestamps s. The loss is the KL divergence of the similarities from
    this prior plus the prior's entropy, which has no gradient.

    Args:
        u_BTE: Unit vectors of the first views.
        u_mask_BT: Mask of the first views.
        u_time_BT: Timestamps of the first views, in frames of the clip.
        v_BSE: Unit vectors of the second views.
        v_mask_BS: Mask of the second views.
        v_time_BS: Timestamps of the second views, in frames of the clip.
        temperature: Temperature τ.
        sigma: Standard deviation σ, in frames.

    Returns:
        Scalar loss.
    """
    similarity_BTS = u_BTE @ v_BSE.transpose(1, 2) / temperature
    time_difference_BTS = u_time_BT[:, :, None] - v_time_BS[:, None]
    prior_BTS = -(time_difference_BTS**2) / (2 * sigma**2)
    u_loss_BT = _compute_prior_cross_entropy(similarity_BTS, prior_BTS, v_mask_BS)
    v_loss_BS = _compute_prior_cross_entropy(
        similarity_BTS.transpose(1, 2), prior_BTS.transpose(1, 2), u_mask_BT
    )
    num_frames = u_mask_BT.sum() + v_mask_BS.sum()
    total = u_loss_BT.masked_fill(~u_mask_BT, 0).sum() + v_loss_BS.masked_fill(~v_mask_BS, 0).sum()
    return total / num_frames


def _compute_prior_cross_entropy(
    similarity_BTS: Tensor, prior_BTS: Tensor, mask_BS: Tensor
) -> Tensor:
    """Compute the cross entropy of each frame's similarities under its prior, (B, T).

    Args:
        similarity_BTS: Similarities divided by the temperature.
        prior_BTS: Logarithm of the prior, not normalized.
        mask_BS: Mask of the frames that are predicted, bool.
    """
    padding_B1S = ~mask_BS[:, None]
    # Normalize in log space: far from all frames every Gaussian would underflow to 0.
    weight_BTS = prior_BTS.masked_fill(padding_B1S, float("-inf")).softmax(dim=2)
    log_softmax_BTS = similarity_BTS.masked_fill(padding_B1S, float("-inf")).log_softmax(dim=2)
    # 0 times minus infinity is NaN, so padding is replaced before the product.
    return -(weight_BTS * torch.where(padding_B1S, 0, log_softmax_BTS)).sum(dim=2)
