"""Gathering of a batch over all ranks, with gradients.

A contrastive loss over the clips of one rank would have fewer negatives with every worker that is
added. Here each rank gets the vectors of all ranks, and the gradient that any rank's loss has with
respect to them returns to the rank that computed them.

Shapes: B clips of this rank, G clips of all ranks, P width, L tokens.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from kinesweep.core.collectives import get_rank_and_world_size


class GlobalBatch:
    """The sizes of the batches of all ranks at one step; creating it is a collective call.

    Args:
        num_clips: Number of clips of this rank.
        width: Number of values per clip of a tensor that ranks pad differently.
        device: Device of the tensors.

    Attributes:
        rows: Rows of this rank in a gathered tensor.
        width: Largest width over all ranks.
        num_clips: Number of clips of all ranks, G.
    """

    def __init__(self, num_clips: int, width: int, device: torch.device) -> None:
        rank, world_size = get_rank_and_world_size()
        # Both sizes in one message: latency dominates for tensors as small as this.
        sizes_W2 = torch.tensor([[num_clips, width]], device=device)
        if world_size > 1:
            gathered = [torch.empty_like(sizes_W2) for _ in range(world_size)]
            dist.all_gather(gathered, sizes_W2)
            sizes_W2 = torch.cat(gathered)
        self.sizes: list[int] = sizes_W2[:, 0].tolist()
        self.width = int(sizes_W2[:, 1].max())
        start = sum(self.sizes[:rank])
        self.rows = slice(start, start + num_clips)
        self.num_clips = sum(self.sizes)

    def gather(self, x_BP: Tensor) -> Tensor:
        """Gather a tensor of all ranks with its gradient, (G, P); a collective call, both ways."""
        # One rank needs no process group, which may not exist.
        if len(self.sizes) == 1:
            return x_BP
        gathered_GP: Tensor = _GatherRows.apply(x_BP, self)
        return gathered_GP

    def gather_tokens(self, ids_BL: Tensor, padding: int) -> Tensor:
        """Gather token ids of all ranks, padded equally, (G, L); a collective call.

        Args:
            ids_BL: Ids of this rank, of the width that this rank gave.
            padding: Id for the positions that are added.
        """
        padded_BL = functional.pad(ids_BL, (0, self.width - ids_BL.shape[1]), value=padding)
        return self.gather(padded_BL)


class _GatherRows(torch.autograd.Function):
    """Concatenates the rows of all ranks; its gradient is the sum over the losses of all ranks."""

    @staticmethod
    def forward(ctx: Any, x_BP: Tensor, batch: GlobalBatch) -> Tensor:
        """Gather the rows of all ranks, which may hold different numbers of them."""
        ctx.rows = batch.rows
        longest = max(batch.sizes)
        # `all_gather` needs equal sizes, so each rank pads its rows.
        padded_MP = functional.pad(x_BP, (0, 0, 0, longest - len(x_BP))).contiguous()
        gathered = [torch.empty_like(padded_MP) for _ in batch.sizes]
        dist.all_gather(gathered, padded_MP)
        return torch.cat([x[:size] for x, size in zip(gathered, batch.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Sum the gradients of all ranks and return those of this rank's rows."""
        # A copy: `all_reduce` works in place, and autograd may use the gradient elsewhere.
        grad_GP = grads[0].contiguous().clone()
        dist.all_reduce(grad_GP)
        return grad_GP[ctx.rows], None
