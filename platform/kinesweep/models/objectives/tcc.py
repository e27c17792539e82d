"""Temporal cycle consistency: from a frame to another clip and back, to the frame one began at.

Dwibedi et al., "Temporal Cycle-Consistency Learning" (CVPR 2019, arXiv 1904.07846): pairs of clips
that show the same movement, whose moments nobody has labelled. Regression says how far off the way
back ends; classification only whether it ends elsewhere. Memory grows with B · T · S: 32 pairs of
32 frames take 0.1 MB. Not for movements that repeat within a clip: any repetition is a way back.

Shapes: B pairs of clips, T frames of the one, S of the other, E width. Masks are True for frames.
"""

import torch
from torch import Tensor

_WITHIN_A_FRAME = 1 / 12
"""Variance, in frames, of a moment of which one knows its frame alone; keeps σ² from 0."""


def cycle_back_regression(
    u_BTE: Tensor,
    u_mask_BT: Tensor,
    v_BSE: Tensor,
    v_mask_BS: Tensor,
    temperature: float,
    variance_weight: float,
) -> Tensor:
    """Section 3.3: |i − μ|² / σ² + λ log σ, mean over the frames i of `u`.

    μ and σ² are mean and variance of the position under β_k = softmax(−‖ṽ − u_k‖²), where ṽ is
    the soft nearest neighbour of u_i in `v`. Positions are parts of the clip, 0 to 1, as the
    authors' own program has them, so long clips weigh no more; distances are divided by the
    temperature, because our vectors have length 1 and theirs have not.

    Args:
        u_BTE: embeddings of the first clips.
        u_mask_BT: their frames.
        v_BSE: embeddings of the second ones.
        v_mask_BS: their frames.
        temperature: that distances are divided by.
        variance_weight: λ.

    Returns:
        The loss, a number.
    """
    beta_BTT = _back(u_BTE, u_mask_BT, v_BSE, v_mask_BS, temperature).softmax(dim=2)
    frames_B1 = u_mask_BT.sum(dim=1, keepdim=True).to(u_BTE.dtype)
    place_BT = torch.arange(u_BTE.shape[1], device=u_BTE.device) / frames_B1
    mean_BT = (beta_BTT * place_BT[:, None]).sum(dim=2)
    variance_BT = (beta_BTT * (place_BT[:, None] - mean_BT[:, :, None]) ** 2).sum(dim=2)
    variance_BT = variance_BT + _WITHIN_A_FRAME / frames_B1**2
    off_BT = (place_BT - mean_BT) ** 2 / variance_BT
    return _mean(off_BT + variance_weight * variance_BT.log() / 2, u_mask_BT)


def cycle_back_classification(
    u_BTE: Tensor, u_mask_BT: Tensor, v_BSE: Tensor, v_mask_BS: Tensor, temperature: float
) -> Tensor:
    """Section 3.2: cross entropy of ŷ = softmax(−‖ṽ − u_k‖²) at k = i, mean over frames i of `u`.

    Arguments as in `cycle_back_regression`.

    Returns:
        The loss, a number.
    """
    logits_BTT = _back(u_BTE, u_mask_BT, v_BSE, v_mask_BS, temperature)
    return _mean(-logits_BTT.log_softmax(dim=2).diagonal(dim1=1, dim2=2), u_mask_BT)


def _back(
    u_BTE: Tensor, u_mask_BT: Tensor, v_BSE: Tensor, v_mask_BS: Tensor, temperature: float
) -> Tensor:
    """Logits (B, T, T): from each frame of `u`, through `v`, to each frame of `u`."""
    there_BTS = -_squared_distances(u_BTE, v_BSE) / temperature
    alpha_BTS = _only(there_BTS, v_mask_BS).softmax(dim=2)
    soft_BTE = alpha_BTS @ v_BSE  # ṽ
    return _only(-_squared_distances(soft_BTE, u_BTE) / temperature, u_mask_BT)


def _only(logits_BTS: Tensor, mask_BS: Tensor) -> Tensor:
    """Padding gets no weight; a row that is padding itself stays finite."""
    return logits_BTS.masked_fill(~mask_BS[:, None], float("-inf"))


def _squared_distances(a_BTE: Tensor, b_BSE: Tensor) -> Tensor:
    """‖a − b‖², (B, T, S); `torch.cdist` has no gradient where two vectors meet."""
    squares_BTS = (a_BTE**2).sum(dim=2)[:, :, None] + (b_BSE**2).sum(dim=2)[:, None]
    return squares_BTS - 2 * a_BTE @ b_BSE.transpose(1, 2)


def _mean(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Over real frames of the batch."""
    return loss_BT.masked_fill(~mask_BT, 0).sum() / mask_BT.sum()
