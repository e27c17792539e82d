"""Temporal cycle consistency: from a frame to another clip and back to the same frame.

Dwibedi et al., "Temporal Cycle-Consistency Learning" (CVPR 2019, arXiv 1904.07846). The loss trains
on pairs of clips that show the same movement, without labels of corresponding frames. The
regression variant penalizes the distance between start and end of the cycle, the classification
variant only whether they differ. Memory grows with B · T · S: 32 pairs of 32 frames take 0.1 MB.
The loss is unsuitable for movements that repeat within a clip: the cycle may return to any of them.

Shapes: B pairs of clips, T frames of one clip, S of the other, E width. Masks are True for frames.
"""

import torch
from torch import Tensor

# Variance, in frames², of a time that is uniform within one frame. It keeps σ² away from 0.
_FRAME_VARIANCE = 1 / 12


def compute_cycle_regression_loss(
    u_BTE: Tensor,
    u_mask_BT: Tensor,
    v_BSE: Tensor,
    v_mask_BS: Tensor,
    temperature: float,
    variance_weight: float,
) -> Tensor:
    """Compute |i − μ|² / σ² + λ log σ, averaged over the frames i of `u`.

    See section 3.3 of the paper. μ and σ² are the mean and variance of the position under
    β_k = softmax(−‖ṽ − u_k‖²), where ṽ is the soft nearest neighbor of u_i in `v`. Positions are
    fractions of the clip, 0 to 1, as in the authors' code, so long clips do not weigh more.
    Distances are divided by the temperature, because our vectors have length 1 and theirs do not.

    Args:
        u_BTE: Embeddings of the first clips.
        u_mask_BT: Mask of the first clips.
        v_BSE: Embeddings of the second clips.
        v_mask_BS: Mask of the second clips.
        temperature: Divisor of the squared distances.
        variance_weight: Weight λ.

    Returns:
        Scalar loss.
    """
    beta_BTT = _compute_cycle_logits(u_BTE, u_mask_BT, v_BSE, v_mask_BS, temperature).softmax(dim=2)
    frames_B1 = u_mask_BT.sum(dim=1, keepdim=True).to(u_BTE.dtype)
    position_BT = torch.arange(u_BTE.shape[1], device=u_BTE.device) / frames_B1
    mean_BT = (beta_BTT * position_BT[:, None]).sum(dim=2)
    variance_BT = (beta_BTT * (position_BT[:, None] - mean_BT[:, :, None]) ** 2).sum(dim=2)
    variance_BT = variance_BT + _FRAME_VARIANCE / frames_B1**2
    error_BT = (position_BT - mean_BT) ** 2 / variance_BT
    # log σ is half of log σ².
    return _average_frame_losses(error_BT + variance_weight * variance_BT.log() / 2, u_mask_BT)


def compute_cycle_classification_loss(
    u_BTE: Tensor, u_mask_BT: Tensor, v_BSE: Tensor, v_mask_BS: Tensor, temperature: float
) -> Tensor:
    """Compute the cross entropy of softmax(−‖ṽ − u_k‖²) at k = i, averaged over frames i of `u`.

    See section 3.2 of the paper.

    Args:
        u_BTE: Embeddings of the first clips.
        u_mask_BT: Mask of the first clips.
        v_BSE: Embeddings of the second clips.
        v_mask_BS: Mask of the second clips.
        temperature: Divisor of the squared distances.

    Returns:
        Scalar loss.
    """
    logits_BTT = _compute_cycle_logits(u_BTE, u_mask_BT, v_BSE, v_mask_BS, temperature)
    return _average_frame_losses(-logits_BTT.log_softmax(dim=2).diagonal(dim1=1, dim2=2), u_mask_BT)


def _compute_cycle_logits(
    u_BTE: Tensor, u_mask_BT: Tensor, v_BSE: Tensor, v_mask_BS: Tensor, temperature: float
) -> Tensor:
    """Compute the logits of cycles from each frame of `u` through `v` to each frame of `u`.

    Returns:
        Logits (B, T, T): the frame where the cycle starts, then the frame where it ends; minus
        infinity where it would end at padding.
    """
    outward_logits_BTS = -_compute_squared_distances(u_BTE, v_BSE) / temperature
    alpha_BTS = _mask_padding(outward_logits_BTS, v_mask_BS).softmax(dim=2)
    soft_BTE = alpha_BTS @ v_BSE  # ṽ
    return _mask_padding(-_compute_squared_distances(soft_BTE, u_BTE) / temperature, u_mask_BT)


def _mask_padding(logits_BTS: Tensor, mask_BS: Tensor) -> Tensor:
    """Set logits (B, T, S) at padding of the last dimension to minus infinity.

    Rows that are padding themselves stay finite.
    """
    return logits_BTS.masked_fill(~mask_BS[:, None], float("-inf"))


def _compute_squared_distances(a_BTE: Tensor, b_BSE: Tensor) -> Tensor:
    """Compute the squared distance ‖a − b‖² of each frame to each other frame, (B, T, S)."""
    # `torch.cdist` has no gradient where two vectors are equal.
    squares_BTS = (a_BTE**2).sum(dim=2)[:, :, None] + (b_BSE**2).sum(dim=2)[:, None]
    return squares_BTS - 2 * a_BTE @ b_BSE.transpose(1, 2)


def _average_frame_losses(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Average the losses of all real frames of the batch; returns a scalar."""
    return loss_BT.masked_fill(~mask_BT, 0).sum() / mask_BT.sum()
