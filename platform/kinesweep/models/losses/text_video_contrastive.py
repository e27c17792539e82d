"""Contrastive loss between clips and their texts, over all pairs of a batch.

The symmetric loss of CLIP (Radford et al. 2021, arXiv 2103.00020), with which GFSLT-VLP (Zhou et
al. 2023, arXiv 2307.14768) aligns sign-language clips with texts: a clip has to find its text among
all texts of the batch, and a text its clip. Clips with equal texts are common in small domains
(weather forecasts); they are neither positives nor negatives of each other here, because a model
that tells them apart would have to read something other than their meaning.

Clips are compared over the batch of all ranks; each rank has its clips' part of the mean.

Shapes: B clips of this rank, G clips of all ranks, L numbers that identify a text, P width of the
comparison.
"""

import torch
from torch import Tensor
from torch.nn import functional

from kinesweep.core.batch import IGNORE
from kinesweep.models.losses.global_batch import GlobalBatch


def find_equal_texts(text_ids_GL: Tensor) -> Tensor:
    """Find which pairs of clips have the same text, bool (G, G); the diagonal is True.

    Args:
        text_ids_GL: Numbers that identify each clip's text, such as its labels, padded equally.
    """
    return (text_ids_GL[:, None] == text_ids_GL[None]).all(dim=2)


def compute_text_video_losses(
    sign_GP: Tensor, text_GP: Tensor, equal_text_GG: Tensor, scale: Tensor | float
) -> Tensor:
    """Compute the contrastive loss of each clip and its text, in float32 or better, (G,).

    The loss of a batch is the mean. That of a clip is the mean of two cross entropies, of its text
    among all texts and of itself among all clips.

    Args:
        sign_GP: Pooled features of the clips, of any length.
        text_GP: Pooled features of their texts.
        equal_text_GG: True where two clips have the same text.
        scale: Inverse temperature.
    """
    # Logits reach 100 times a similarity, which half precision resolves to 0.06 at best.
    dtype = torch.promote_types(sign_GP.dtype, torch.float32)
    sign_GP = functional.normalize(sign_GP.to(dtype), dim=1)
    text_GP = functional.normalize(text_GP.to(dtype), dim=1)
    logits_GG = scale * (sign_GP @ text_GP.T)
    own_pair_GG = torch.eye(len(logits_GG), dtype=torch.bool, device=logits_GG.device)
    # Excluded from the softmax: another clip with this text is not wrong.
    logits_GG = logits_GG.masked_fill(equal_text_GG & ~own_pair_GG, float("-inf"))
    # Own pairs lie on the diagonal; they are never masked, so the loss is finite.
    text_loss_G = -logits_GG.log_softmax(dim=1).diagonal()
    sign_loss_G = -logits_GG.log_softmax(dim=0).diagonal()
    return (text_loss_G + sign_loss_G) / 2


def compute_text_video_share(
    sign_BP: Tensor, text_BP: Tensor, text_ids_BL: Tensor, scale: Tensor
) -> Tensor:
    """Compute this rank's part of the mean loss over the clips of all ranks; a collective call.

    The parts and their gradients add up to the loss and the gradient of one process with all clips.
    A rank without clips takes part too.

    Args:
        sign_BP: Pooled features of the clips of this rank.
        text_BP: Pooled features of their texts.
        text_ids_BL: Numbers that identify each text, such as its labels; ranks may have different
            widths L.
        scale: Inverse temperature.
    """
    # Created first: ranks must agree on sizes before any of them sends rows.
    batch = GlobalBatch(len(text_ids_BL), text_ids_BL.shape[1], text_ids_BL.device)
    losses_G = compute_text_video_losses(
        batch.gather(sign_BP),
        batch.gather(text_BP),
        find_equal_texts(batch.gather_tokens(text_ids_BL, IGNORE)),
        scale,
    )
    # Every rank computes the whole matrix, and keeps the rows of its own clips.
    return losses_G[batch.rows].sum() / batch.num_clips
