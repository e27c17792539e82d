"""ST-GCN (Yan et al., 2018): a sequence of blocks over graph and time.

With the published ten blocks of widths 64, 128 and 256 and 3 hops it has 4.0 million weights. As
published, the first block has neither dropout nor a residual connection.

Shapes: N real frames, V points, C channels, W width.
"""

from typing import Any

from torch import Tensor, nn

from kinesweep.config.recipe.graph import StgcnEncoderConfig
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.models.encoders.graph_blocks import GraphBlock, build_graph_blocks
from kinesweep.models.encoders.graph_encoder import GraphEncoder, count_point_channels
from kinesweep.models.encoders.packed_frames import FramePacker

# Number of stages. The width doubles from each to the next; if the blocks do not divide evenly,
# earlier stages have one more.
_STAGES = 3


class StgcnEncoder(GraphEncoder):
    """An encoder made of one sequence of blocks.

    Args:
        config: Sizes of the blocks.
        width: Input width D.
        out: Output width E.
        skeleton: Skeleton of the points.
    """

    def __init__(
        self, config: StgcnEncoderConfig, width: int, out: int, skeleton: Skeleton
    ) -> None:
        network = _StgcnNetwork(
            config, count_point_channels(config, width, skeleton), skeleton.num_points
        )
        super().__init__(config, network, width, out, skeleton)


class _StgcnNetwork(nn.Module):
    """The network of ST-GCN: a sequence of blocks."""

    def __init__(self, config: StgcnEncoderConfig, channels: int, points: int) -> None:
        super().__init__()
        blocks = range(config.blocks)
        widths = [config.channels * 2 ** (_STAGES * index // config.blocks) for index in blocks]
        self.width = widths[-1]
        graphs = (2 * config.hops + 1, 0)
        common_args: dict[str, Any] = {"graphs": graphs, "points": points, "kernel": config.kernel}
        self.first = GraphBlock((channels, widths[0]), **common_args, dropout=0.0, residual=False)
        self.blocks = build_graph_blocks(
            widths[0], widths[1:], **common_args, dropout=config.dropout
        )

    def forward(self, x_NVC: Tensor, packer: FramePacker, skeleton_KVV: Tensor) -> Tensor:
        """Return (N, V, W)."""
        for block in (self.first, *self.blocks):
            x_NVC = block(x_NVC, packer, skeleton_KVV)
        return x_NVC
