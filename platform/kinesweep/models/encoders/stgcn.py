"""ST-GCN (Yan et al., 2018): blocks of graph and time, one after another.

With the published ten blocks of widths 64, 128 and 256 and 3 hops it has 4.0 million weights. The
first block has neither dropout nor anything added, as published.

Shapes: N real frames, V points, C channels, W width.
"""

from typing import Any

from torch import Tensor, nn

from kinesweep.core.recipe.graph import StgcnEncoderConfig
from kinesweep.core.skeleton import Skeleton
from kinesweep.models.encoders.blocks import Block, row_of_blocks
from kinesweep.models.encoders.graph import GraphEncoder, channels_of
from kinesweep.models.encoders.reel import Reel

_STAGES = 3
"""Widths double from one to the next; earlier ones have a block more where it does not divide."""


class StgcnEncoder(GraphEncoder):
    """A row of blocks.

    Args:
        config: sizes.
        width: D.
        out: E.
        skeleton: of the points.
    """

    def __init__(
        self, config: StgcnEncoderConfig, width: int, out: int, skeleton: Skeleton
    ) -> None:
        network = _Row(config, channels_of(config, width, skeleton), skeleton.num_points)
        super().__init__(config, network, width, out, skeleton)


class _Row(nn.Module):
    def __init__(self, config: StgcnEncoderConfig, channels: int, points: int) -> None:
        super().__init__()
        blocks = range(config.blocks)
        widths = [config.channels * 2 ** (_STAGES * at // config.blocks) for at in blocks]
        self.width = widths[-1]
        graphs = (2 * config.hops + 1, 0)
        shared: dict[str, Any] = {"graphs": graphs, "points": points, "kernel": config.kernel}
        self.first = Block((channels, widths[0]), **shared, dropout=0.0, residual=False)
        self.blocks = row_of_blocks(widths[0], widths[1:], **shared, dropout=config.dropout)

    def forward(self, x_NVC: Tensor, reel: Reel, skeleton_KVV: Tensor) -> Tensor:
        """Returns (N, V, W)."""
        for block in (self.first, *self.blocks):
            x_NVC = block(x_NVC, reel, skeleton_KVV)
        return x_NVC
