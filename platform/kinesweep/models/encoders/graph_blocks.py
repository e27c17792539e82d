"""Blocks of graph encoders: a graph convolution over points, then a convolution over time.

A block mixes the points by its graphs, maps the result of all graphs with one matrix (the 1×1
convolution of ST-GCN), and convolves over time. Mixing comes first because blocks widen, so the
narrow side is mixed. The gradient of the graphs is summed over frames in one product instead of
being stored per frame, which makes a block's step a third faster and, with 178 points, saves a
gigabyte of memory.

Shapes: N real frames of all clips, B clips, T real frames of one clip, S skeleton graphs, K graphs
per clip, G graphs of either kind, V points, C channels, R = V · G matrix rows.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.encoders.packed_frames import FramePacker


class GraphBlock(nn.Module):
    """Graph → norm → ReLU → time → norm → dropout → ReLU, with a residual connection.

    Args:
        widths: Input and output channels.
        num_graphs: Number of skeleton graphs, and number of graphs per clip.
        num_points: Number of points V.
        kernel: Kernel size over time, in frames.
        dropout: Dropout probability.
        residual: Add the input to the output, through a matrix if widths differ.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        num_graphs: tuple[int, int],
        num_points: int,
        kernel: int,
        dropout: float,
        residual: bool = True,
    ) -> None:
        super().__init__()
        width, out = widths
        num_skeleton_graphs, num_clip_graphs = num_graphs
        # Learned edge weights, one for each entry of each skeleton graph.
        self.edges = (
            nn.Parameter(torch.ones(num_skeleton_graphs, num_points, num_points))
            if num_skeleton_graphs
            else None
        )
        # No biases, because norms follow.
        self.linear = nn.Linear((num_skeleton_graphs + num_clip_graphs) * width, out, bias=False)
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
        self,
        x_NVC: Tensor,
        packer: FramePacker,
        skeleton_graphs_SVV: Tensor,
        clip_graphs_BKVV: Tensor | None = None,
    ) -> Tensor:
        """Mix points by all graphs, convolve over time, add the input; returns (N, V, C').

        Args:
            x_NVC: Real frames.
            packer: Positions of the real frames in the batch.
            skeleton_graphs_SVV: Graphs of the skeleton; each block has its own edge weights for
                them.
            clip_graphs_BKVV: Graphs of each clip; None for a block without clip graphs.
        """
        mixed = [] if self.edges is None else [mix_points(skeleton_graphs_SVV * self.edges, x_NVC)]
        if clip_graphs_BKVV is not None:
            # Each clip has graphs of its own, so the packed frames are split by clip.
            clips = zip(clip_graphs_BKVV, x_NVC.split(packer.lengths), strict=True)
            mixed.append(torch.cat([mix_points(graphs_KVV, x_TVC) for graphs_KVV, x_TVC in clips]))
        out_NVC = self.norm_graph(self.linear(torch.cat(mixed, dim=2))).relu()
        out_NVC = self.dropout(self.norm_time(packer.convolve_frames(out_NVC, self.time))).relu()
        return out_NVC if self.residual is None else out_NVC + self.residual(x_NVC)


def build_graph_blocks(width: int, widths: Sequence[int], **arguments: Any) -> nn.ModuleList:
    """Build a sequence of blocks, one for each output width.

    Args:
        width: Input channels of the first block.
        widths: Output channels of each block.
        **arguments: Other arguments of `GraphBlock`, the same for all blocks.
    """
    return nn.ModuleList(GraphBlock(pair, **arguments) for pair in pairwise((width, *widths)))


def mix_points(graphs_GVV: Tensor, x_NVC: Tensor) -> Tensor:
    """Mix the points of each frame by each graph; returns (N, V, G·C).

    Args:
        graphs_GVV: Weight with which a point (second dimension) receives another (third).
        x_NVC: Channels of each point in each frame.
    """
    # All graphs as one matrix with G rows per point, so one product computes them all.
    rows_RV = graphs_GVV.transpose(0, 1).flatten(0, 1).to(x_NVC.dtype)
    mixed: Tensor = _MixPoints.apply(rows_RV, x_NVC)
    return mixed.unflatten(1, (-1, len(graphs_GVV))).flatten(2)


class _MixPoints(torch.autograd.Function):
    """Multiply all frames by one matrix; the matrix's gradient is summed over frames at once."""

    @staticmethod
    def forward(ctx: Any, rows_RV: Tensor, x_NVC: Tensor) -> Tensor:
        """Multiply each frame by the matrix; returns (N, R, C)."""
        ctx.save_for_backward(rows_RV, x_NVC)
        return torch.bmm(rows_RV.expand(x_NVC.shape[0], -1, -1), x_NVC)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NRC: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of the matrix, (R, V), and of the frames, (N, V, C)."""
        # Under autocast the saved tensors can have another dtype than the gradient.
        rows_RV, x_NVC = (saved.to(grad_NRC.dtype) for saved in ctx.saved_tensors)
        # One product instead of `addbmm`, which rounds its sum after each frame: in bfloat16, with
        # 4,000 frames, its result is off by 74 %.
        grad_RV = torch.tensordot(grad_NRC, x_NVC, dims=([0, 2], [0, 2]))
        return grad_RV, torch.bmm(rows_RV.t().expand(len(x_NVC), -1, -1), grad_NRC)
