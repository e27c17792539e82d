"""ST-GCN (Yan et al., 2018): a sequence of blocks over graph and time.

With the published ten blocks of widths 64, 128 and 256 and 3 hops it has 4.0 million weights. As
published, the first block has neither dropout nor a residual connection.

Shapes: N real frames of all clips, V points, S skeleton graphs, C channels, W output width.
"""

from typing import Any

from torch import Tensor, nn

from kinesweep.config.recipe.model.graph import StgcnEncoderConfig
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
    """The network of ST-GCN: a sequence of blocks.

    Args:
        config: Sizes of the blocks.
        channels: Number of input channels of each point.
        num_points: Number of points V.

    Attributes:
        width: Output width W.
    """

    def __init__(self, config: StgcnEncoderConfig, channels: int, num_points: int) -> None:
        super().__init__()
        blocks = range(config.blocks)
        widths = [config.channels * 2 ** (_STAGES * index // config.blocks) for index in blocks]
        self.width = widths[-1]
        common_args: dict[str, Any] = {
            "num_graphs": (2 * config.hops + 1, 0),
            "num_points": num_points,
            "kernel": config.kernel,
        }
        self.first = GraphBlock((channels, widths[0]), **common_args, dropout=0.0, residual=False)
        self.blocks = build_graph_blocks(
            widths[0], widths[1:], **common_args, dropout=config.dropout
        )

    def forward(self, x_NVC: Tensor, packer: FramePacker, skeleton_graphs_SVV: Tensor) -> Tensor:
        """Run all blocks on the real frames; returns (N, V, W).

        Args:
            x_NVC: Input channels of each point in each real frame.
            packer: Positions of the real frames in the batch.
            skeleton_graphs_SVV: Graphs of the skeleton.
        """
        for block in (self.first, *self.blocks):
            x_NVC = block(x_NVC, packer, skeleton_graphs_SVV)
        return x_NVC
