"""What graph encoders are built of: points take of their neighbours, then of themselves over time.

A block mixes points by its graphs, maps what each graph brought by one matrix (ST-GCN's 1×1
convolution), and looks along time. Mixing comes first: blocks widen, so the narrow side is mixed.
A gradient of graphs summed while it is made, not frame by frame, takes a third off a block's step
and, on 178 points, a gigabyte off its memory.

Shapes: N real frames, B clips, K graphs, V points, C channels.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.encoders.reel import Reel


class Block(nn.Module):
    """Graph → norm → ReLU → time → norm → dropout → ReLU, beside which what came in is added.

    Args:
        widths: channels in and out.
        graphs: graphs that it is called with, those of the skeleton and those of each clip.
        points: V.
        kernel: frames that it sees.
        dropout: share of values.
        residual: add what came in, through a matrix where widths differ.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        graphs: tuple[int, int],
        points: int,
        kernel: int,
        dropout: float,
        residual: bool = True,
    ) -> None:
        super().__init__()
        width, out = widths
        fixed, attended = graphs
        self.edges = nn.Parameter(torch.ones(fixed, points, points)) if fixed else None
        self.linear = nn.Linear((fixed + attended) * width, out, bias=False)  # a norm follows
        self.norm_graph = BatchNorm(out)
        size, padding = (kernel, 1), (kernel // 2, 0)
        self.time = nn.Conv2d(out, out, size, padding=padding, bias=False)
        self.norm_time = BatchNorm(out)
        self.dropout = nn.Dropout(dropout)
        self.residual: nn.Module | None = nn.Identity() if residual else None
        if residual and width != out:
            linear = nn.Linear(width, out, bias=False)
            self.residual = nn.Sequential(linear, BatchNorm(out))

    def forward(
        self, x_NVC: Tensor, reel: Reel, skeleton_KVV: Tensor, graphs_BKVV: Tensor | None = None
    ) -> Tensor:
        """Returns (N, V, C').

        Args:
            x_NVC: real frames.
            reel: where they belong.
            skeleton_KVV: the skeleton's graphs; each block weighs their edges in its own way.
            graphs_BKVV: those of each clip.
        """
        mixed = [] if self.edges is None else [mix(skeleton_KVV * self.edges, x_NVC)]
        if graphs_BKVV is not None:
            clips = zip(graphs_BKVV, x_NVC.split(reel.lengths), strict=True)
            mixed.append(torch.cat([mix(graphs_KVV, clip) for graphs_KVV, clip in clips]))
        out_NVC = self.norm_graph(self.linear(torch.cat(mixed, dim=2))).relu()
        out_NVC = self.dropout(self.norm_time(reel.convolve(out_NVC, self.time))).relu()
        return out_NVC if self.residual is None else out_NVC + self.residual(x_NVC)


def row_of_blocks(width: int, widths: Sequence[int], **arguments: Any) -> nn.ModuleList:
    """Blocks of these widths one after another; the first reads `width` channels."""
    return nn.ModuleList(Block(pair, **arguments) for pair in pairwise((width, *widths)))


def mix(graphs_KVV: Tensor, x_NVC: Tensor) -> Tensor:
    """What each graph brings to each point, (N, V, K·C).

    Args:
        graphs_KVV: how much a point (second) takes of each point (third).
        x_NVC: the points in each frame.
    """
    rows_RV = graphs_KVV.transpose(0, 1).flatten(0, 1).to(x_NVC.dtype)
    mixed: Tensor = _Mixed.apply(rows_RV, x_NVC)
    return mixed.unflatten(1, (-1, len(graphs_KVV))).flatten(2)


class _Mixed(torch.autograd.Function):
    """One matrix before those of all frames, and the sum of its gradients."""

    @staticmethod
    def forward(ctx: Any, rows_RV: Tensor, x_NVC: Tensor) -> Tensor:
        ctx.save_for_backward(rows_RV, x_NVC)
        return torch.bmm(rows_RV.expand(x_NVC.shape[0], -1, -1), x_NVC)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NRC: Tensor) -> tuple[Tensor, Tensor]:
        # Of another type where autocast was at work.
        rows_RV, x_NVC = (saved.to(grad_NRC.dtype) for saved in ctx.saved_tensors)
        # One product: `addbmm` rounds its sum after each frame, in bfloat16 to 74 % off at 4,000.
        grad_RV = torch.tensordot(grad_NRC, x_NVC, dims=([0, 2], [0, 2]))
        return grad_RV, torch.bmm(rows_RV.t().expand(len(x_NVC), -1, -1), grad_NRC)
