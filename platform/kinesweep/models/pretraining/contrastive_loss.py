"""Symmetric contrastive loss between videos and texts (CLIP, Radford et al. 2021, 2103.00020).

Every clip is compared with every text of the batch of all workers; its own text must score highest,
and the other way around. Clips that share a text (repeated sentences, several windows of one clip)
are no negatives of each other: their pairs are left out of the softmax of both directions. CLIP
itself counts them as negatives, which are wrong in a corpus such as PHOENIX, where one in seven
sentences occurs twice.

Gathering is differentiable: each rank computes the loss of the whole batch, and the gradient of an
embedding is the sum over the ranks. A rank's share is the loss divided by the number of ranks, so
the shares and their gradients add up to those of one process with the whole batch.

Shapes: B pairs of this rank, G pairs of all ranks, E width of an embedding.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kinesweep.core.collectives import get_rank_and_world_size

# Initial temperature and largest factor of CLIP.
_INITIAL_TEMPERATURE, _MAX_SCALE = 0.07, 100.0


class LearnedTemperature(nn.Module):
    """The factor of the similarities, 1 / temperature, learned as its logarithm and clamped.

    Args:
        temperature: Initial temperature.
        max_scale: Largest factor; a larger one would let a few pairs decide the loss.
    """

    def __init__(
        self, temperature: float = _INITIAL_TEMPERATURE, max_scale: float = _MAX_SCALE
    ) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        self.max_log_scale = math.log(max_scale)

    def forward(self) -> Tensor:
        """Return the factor as a scalar, at most `max_scale`."""
        with torch.no_grad():
            # Clamped in place: a clamp in the graph would leave no gradient to come back with.
            self.log_scale.clamp_(max=self.max_log_scale)
        return self.log_scale.exp()


class _GatherWithGradient(torch.autograd.Function):
    """Concatenation over ranks whose backward pass sums the gradients of all ranks."""

    @staticmethod
    def forward(ctx: Any, x_BE: Tensor, sizes: list[int]) -> Tensor:
        """Return the rows of all ranks in rank order, (G, E)."""
        ctx.sizes = sizes
        num_rows = max(sizes)
        # Collectives need equal shapes, so shorter parts are padded and the padding is cut off.
        padded_BE = x_BE.new_zeros(num_rows, *x_BE.shape[1:])
        padded_BE[: len(x_BE)] = x_BE
        parts = [torch.empty_like(padded_BE) for _ in sizes]
        dist.all_gather(parts, padded_BE)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the rows of this rank of the gradient that is summed over ranks."""
        # Every rank has used all rows, so each row has a gradient on every rank. The copy keeps
        # the sum out of a tensor that autograd may hand to others.
        gradient_GE = gradients[0].contiguous().clone()
        dist.all_reduce(gradient_GE)
        rank = dist.get_rank()
        start = sum(ctx.sizes[:rank])
        return gradient_GE[start : start + ctx.sizes[rank]], None


def gather_with_gradient(x_BE: Tensor) -> Tensor:
    """Concatenate the rows of all ranks in rank order, differentiably; returns (G, E).

    All ranks must call it, in the same order. Parts may differ in length. A single process gets its
    own rows.

    Args:
        x_BE: Rows of this rank, a tensor of any number of dimensions.
    """
    _, world_size = get_rank_and_world_size()
    if world_size == 1:
        return x_BE
    # The last batch of a worker may be shorter, and shapes must be known before the rows are sent.
    own_size = torch.tensor([len(x_BE)], device=x_BE.device)
    sizes = [torch.zeros_like(own_size) for _ in range(world_size)]
    dist.all_gather(sizes, own_size)
    gathered: Tensor = _GatherWithGradient.apply(x_BE, [int(size) for size in sizes])
    return gathered


def compute_contrastive_loss(
    video_BE: Tensor,
    text_BE: Tensor,
    text_ids_B: Tensor,
    scale: Tensor,
    *,
    local: bool = False,
) -> Tensor:
    """Compute the mean of both directions' cross entropies over the batch of all ranks.

    With scale s and unit vectors v, t, the logits are s · v_i · t_j. The loss of direction v → t is
    the mean over i of −log softmax_j(logits)_i, where j runs over i itself and all pairs with
    another text than i. A rank without pairs takes part in the collectives.

    Args:
        video_BE: Unit vectors of the videos of this rank.
        text_BE: Unit vectors of their texts.
        text_ids_B: Number of each text, int64; equal texts have equal numbers on all ranks.
        scale: Scalar s, as `LearnedTemperature` returns it.
        local: Compare the pairs of this rank only; the result is then the loss itself.

    Returns:
        Share of this rank, a scalar: the loss, which all ranks compute, over the number of ranks.
    """
    num_shares = 1 if local else get_rank_and_world_size()[1]
    tensors = (video_BE, text_BE, text_ids_B)
    video_GE, text_GE, text_ids_G = tensors if local else map(gather_with_gradient, tensors)
    logits_GG = scale * video_GE @ text_GE.T
    is_duplicate_GG = text_ids_G[:, None] == text_ids_G
    # The pair itself is the positive and stays.
    is_duplicate_GG.fill_diagonal_(False)
    # Of a finite value exp would underflow to 0 only if it is far below the other logits.
    logits_GG = logits_GG.masked_fill(is_duplicate_GG, float("-inf"))
    video_loss_G = torch.logsumexp(logits_GG, dim=1) - logits_GG.diagonal()
    text_loss_G = torch.logsumexp(logits_GG, dim=0) - logits_GG.diagonal()
    return (video_loss_G.mean() + text_loss_G.mean()) / (2 * num_shares)
