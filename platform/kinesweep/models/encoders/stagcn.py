"""STA-GCN (Shiraki et al., 2020) in the variant of CoachMe: attention to points and clip graphs.

Feature branch: 6 → 32 → 32 → 64 → 64 → 128. Attention branch: 128 → 128 → 128 → 256 → 256 → 256;
its head of 1024 computes a weight of each point in each frame (sigmoid) and 4 graphs per clip with
the weights between points (tanh, negative values set to zero). The perception branch has the same
widths; it reads the features scaled by the point weights and mixes them by the clip graphs. The
outputs of both branches are concatenated into 512 channels per point and frame. With 22 points this
is 7.11 million weights (published: 7.15; biases before norms and unused masks are left out). With
the skeleton graphs in addition to the clip graphs in the perception branch, as in Shiraki et al.,
it is 8.5 million.

Attention is computed from the whole clip, so the features of a frame depend on all other frames.
Points swapped with their mirror points have exactly swapped attention at random weights (see
`graph_encoder`).

Shapes: B clips, T frames, V points, K attention graphs, N real frames, C channels, W width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kinesweep.config.recipe.graph import StagcnEncoderConfig
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.encoders.graph_blocks import GraphBlock, build_graph_blocks
from kinesweep.models.encoders.graph_encoder import GraphEncoder, count_point_channels
from kinesweep.models.encoders.packed_frames import FramePacker


@dataclass(frozen=True)
class JointAttention:
    """The attention weights of a network.

    Attributes:
        nodes_BTV: Weight of each point in each frame, 0 to 1; 0 at padding.
        graphs_BKVV: Weight with which a point (third) receives a point (fourth), 0 to 1.
    """

    nodes_BTV: Tensor
    graphs_BKVV: Tensor


class StagcnEncoder(GraphEncoder):
    """An encoder with a feature, an attention and a perception branch.

    Args:
        config: Sizes of the branches.
        width: Input width D.
        out: Output width E.
        skeleton: Skeleton of the points.
    """

    def __init__(
        self, config: StagcnEncoderConfig, width: int, out: int, skeleton: Skeleton
    ) -> None:
        network = _StagcnNetwork(config, count_point_channels(config, width, skeleton), skeleton)
        super().__init__(config, network, width, out, skeleton)

    @torch.no_grad()
    def compute_joint_attention(self, x_BTD: Tensor, mask_BT: Tensor) -> JointAttention:
        """Compute the attention weights of points and clip graphs.

        Args:
            x_BTD: Features of clips.
            mask_BT: Mask of their real frames, bool.
        """
        packer = FramePacker(mask_BT)
        network = self.network
        _, x_NVC = network.compute_branch_outputs(
            self.preprocess(x_BTD, packer), packer, self.graphs
        )
        nodes_NV1, graphs_BKVV = network.head(x_NVC, packer)
        return JointAttention(packer.unpack(nodes_NV1)[..., 0], graphs_BKVV)


class _StagcnNetwork(nn.Module):
    """The network of STA-GCN: a feature, an attention and a perception branch."""

    def __init__(self, config: StagcnEncoderConfig, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.width = config.attention[-1] + config.perception[-1]
        fixed = 2 * config.hops + 1
        common_args: dict[str, Any] = {"points": skeleton.num_points, "kernel": config.kernel}
        block_args = {**common_args, "graphs": (fixed, 0), "dropout": config.dropout}
        first, *others = config.features
        self.first = GraphBlock(
            (channels, first), **common_args, graphs=(fixed, 0), dropout=0.0, residual=False
        )
        self.features = build_graph_blocks(first, others, **block_args)
        self.attention = build_graph_blocks(config.features[-1], config.attention, **block_args)
        perception_args = {
            **block_args,
            "graphs": (fixed if config.perceive_skeleton else 0, config.graphs),
        }
        self.perception = build_graph_blocks(
            config.features[-1], config.perception, **perception_args
        )
        self.head = _AttentionHead(config.attention[-1], config.head, config.graphs, skeleton)

    def compute_branch_outputs(
        self, x_NVC: Tensor, packer: FramePacker, skeleton_KVV: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the features, and the output of the attention branch; (N, V, C) each."""
        for block in (self.first, *self.features):
            x_NVC = block(x_NVC, packer, skeleton_KVV)
        attended_NVC = x_NVC
        for block in self.attention:
            attended_NVC = block(attended_NVC, packer, skeleton_KVV)
        return x_NVC, attended_NVC

    def forward(self, x_NVC: Tensor, packer: FramePacker, skeleton_KVV: Tensor) -> Tensor:
        """Return (N, V, W)."""
        x_NVC, attended_NVC = self.compute_branch_outputs(x_NVC, packer, skeleton_KVV)
        nodes_NV1, graphs_BKVV = self.head(attended_NVC, packer)
        x_NVC = x_NVC * nodes_NV1
        for block in self.perception:
            x_NVC = block(x_NVC, packer, skeleton_KVV, graphs_BKVV)
        return torch.cat([x_NVC, attended_NVC], dim=2)


class _AttentionHead(nn.Module):
    """The head of the attention branch.

    There is no nonlinearity between its first matrix and the two after it, so their product is
    computed before they are applied to frames: a head of 1024 then costs nothing per frame.

    Args:
        width: Output width of the attention branch.
        inner: Width between the matrices.
        graphs: Number of graphs K.
        skeleton: Skeleton of the points.
    """

    def __init__(self, width: int, inner: int, graphs: int, skeleton: Skeleton) -> None:
        super().__init__()
        points = skeleton.num_points
        self.norm = BatchNorm(width)
        self.inner = nn.Linear(width, inner, bias=False)
        self.to_node = nn.Linear(inner, 1, bias=False)
        self.norm_node = BatchNorm(1)
        self.to_graphs = nn.Linear(inner, graphs * points, bias=False)
        self.norm_graphs = BatchNorm(graphs * points)
        with torch.no_grad():
            # Copy the initial weights of a point to its mirror point.
            first = [min(pair) for pair in enumerate(skeleton.mirror)]
            weight = self.to_graphs.weight.unflatten(0, (graphs, points))
            self.to_graphs.weight.copy_(weight[:, first].flatten(0, 1))

    def forward(self, x_NVC: Tensor, packer: FramePacker) -> tuple[Tensor, Tensor]:
        """Return the weight of each point (N, V, 1), and graphs (B, K, V, V)."""
        x_NVC = self.norm(x_NVC)
        # Multiply the matrices via an identity instead of using `weight`: both layers may have
        # LoRA adapters, which only calling them applies.
        one_CC = torch.eye(x_NVC.shape[2], dtype=x_NVC.dtype, device=x_NVC.device)
        node_1C = self.to_node(self.inner(one_CC)).t()
        nodes_NV1 = self.norm_node(nn.functional.linear(x_NVC, node_1C)).sigmoid()
        # Graphs are per clip, so the matrices are applied after averaging over frames.
        graphs_BVR = self.norm_graphs(self.to_graphs(self.inner(packer.average_per_clip(x_NVC))))
        graphs_BVKV = graphs_BVR.tanh().relu().unflatten(2, (-1, x_NVC.shape[1]))
        return nodes_NV1, graphs_BVKV.transpose(1, 2)
