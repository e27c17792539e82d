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

Shapes: B clips, T frames, V points, S skeleton graphs, K graphs per clip, N real frames of all
clips, C channels of a branch, W output width of the network.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kinesweep.config.recipe.model.graph import StagcnEncoderConfig
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.encoders.graph_blocks import GraphBlock, build_graph_blocks
from kinesweep.models.encoders.graph_encoder import GraphEncoder, count_point_channels
from kinesweep.models.encoders.packed_frames import FramePacker


@dataclass(frozen=True)
class JointAttention:
    """The attention weights of points and of pairs of points in a batch of clips.

    Attributes:
        point_weights_BTV: Weight of each point in each frame, 0 to 1; 0 at padding.
        clip_graphs_BKVV: Weight with which a point (third dimension) receives another (fourth) in
            each of K graphs, 0 to 1.
    """

    point_weights_BTV: Tensor
    clip_graphs_BKVV: Tensor


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
        """Compute the weight of each point in each frame, and the graphs of each clip.

        Args:
            x_BTD: Features.
            mask_BT: Mask of the frames, bool, True on the left only.
        """
        packer = FramePacker(mask_BT)
        network = self.network
        _, attention_NVC = network.compute_branch_outputs(
            self.preprocess(x_BTD, packer), packer, self.graphs
        )
        point_weights_NV1, clip_graphs_BKVV = network.head(attention_NVC, packer)
        return JointAttention(packer.unpack(point_weights_NV1)[..., 0], clip_graphs_BKVV)


class _StagcnNetwork(nn.Module):
    """The network of STA-GCN: a feature, an attention and a perception branch.

    Args:
        config: Sizes of the branches.
        channels: Number of input channels of each point.
        skeleton: Skeleton of the V points.

    Attributes:
        width: Output width W.
    """

    def __init__(self, config: StagcnEncoderConfig, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.width = config.attention[-1] + config.perception[-1]
        num_skeleton_graphs = 2 * config.hops + 1
        common_args: dict[str, Any] = {
            "num_points": skeleton.num_points,
            "kernel": config.kernel,
        }
        block_args = {
            **common_args,
            "num_graphs": (num_skeleton_graphs, 0),
            "dropout": config.dropout,
        }
        first, *others = config.features
        self.first = GraphBlock(
            (channels, first),
            **common_args,
            num_graphs=(num_skeleton_graphs, 0),
            dropout=0.0,
            residual=False,
        )
        self.features = build_graph_blocks(first, others, **block_args)
        self.attention = build_graph_blocks(config.features[-1], config.attention, **block_args)
        perception_args = {
            **block_args,
            "num_graphs": (num_skeleton_graphs if config.perceive_skeleton else 0, config.graphs),
        }
        self.perception = build_graph_blocks(
            config.features[-1], config.perception, **perception_args
        )
        self.head = _AttentionHead(config.attention[-1], config.head, config.graphs, skeleton)

    def compute_branch_outputs(
        self, x_NVC: Tensor, packer: FramePacker, skeleton_graphs_SVV: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the outputs of the feature branch and of the attention branch.

        Args:
            x_NVC: Input channels of each point in each real frame.
            packer: Positions of the real frames in the batch.
            skeleton_graphs_SVV: Graphs of the skeleton.

        Returns:
            Output of the feature branch and output of the attention branch, (N, V, C) each; their
            C differ.
        """
        for block in (self.first, *self.features):
            x_NVC = block(x_NVC, packer, skeleton_graphs_SVV)
        attention_NVC = x_NVC
        for block in self.attention:
            attention_NVC = block(attention_NVC, packer, skeleton_graphs_SVV)
        return x_NVC, attention_NVC

    def forward(self, x_NVC: Tensor, packer: FramePacker, skeleton_graphs_SVV: Tensor) -> Tensor:
        """Compute the outputs of perception and attention branch, concatenated to (N, V, W).

        Args:
            x_NVC: Input channels of each point in each real frame.
            packer: Positions of the real frames in the batch.
            skeleton_graphs_SVV: Graphs of the skeleton.
        """
        x_NVC, attention_NVC = self.compute_branch_outputs(x_NVC, packer, skeleton_graphs_SVV)
        point_weights_NV1, clip_graphs_BKVV = self.head(attention_NVC, packer)
        x_NVC = x_NVC * point_weights_NV1
        for block in self.perception:
            x_NVC = block(x_NVC, packer, skeleton_graphs_SVV, clip_graphs_BKVV)
        return torch.cat([x_NVC, attention_NVC], dim=2)


class _AttentionHead(nn.Module):
    """The head of the attention branch.

    There is no nonlinearity between its first matrix and the two after it, so their product is
    computed before they are applied to frames: a head of 1024 then costs nothing per frame.

    Args:
        width: Output width of the attention branch.
        inner: Width between the first matrix and the two after it.
        num_graphs: Number of graphs per clip, K.
        skeleton: Skeleton of the V points.
    """

    def __init__(self, width: int, inner: int, num_graphs: int, skeleton: Skeleton) -> None:
        super().__init__()
        num_points = skeleton.num_points
        self.norm = BatchNorm(width)
        self.inner = nn.Linear(width, inner, bias=False)
        self.to_node = nn.Linear(inner, 1, bias=False)
        self.norm_node = BatchNorm(1)
        self.to_graphs = nn.Linear(inner, num_graphs * num_points, bias=False)
        self.norm_graphs = BatchNorm(num_graphs * num_points)
        with torch.no_grad():
            # Copy the initial weights of a point to its mirror point.
            lower_indices = [min(pair) for pair in enumerate(skeleton.mirror)]
            weight = self.to_graphs.weight.unflatten(0, (num_graphs, num_points))
            self.to_graphs.weight.copy_(weight[:, lower_indices].flatten(0, 1))

    def forward(self, x_NVC: Tensor, packer: FramePacker) -> tuple[Tensor, Tensor]:
        """Compute the weight of each point in each frame, and the graphs of each clip.

        Args:
            x_NVC: Output of the attention branch.
            packer: Positions of the real frames in the batch.

        Returns:
            Point weights (N, V, 1), and clip graphs (B, K, V, V) with the weight with which a point
            (third dimension) receives another (fourth); all between 0 and 1.
        """
        x_NVC = self.norm(x_NVC)
        # Multiply the matrices via an identity instead of using `weight`: both layers may have
        # LoRA adapters, which only calling them applies.
        identity_CC = torch.eye(x_NVC.shape[2], dtype=x_NVC.dtype, device=x_NVC.device)
        node_1C = self.to_node(self.inner(identity_CC)).t()
        point_weights_NV1 = self.norm_node(nn.functional.linear(x_NVC, node_1C)).sigmoid()
        # Graphs are per clip, so the matrices are applied after averaging over frames.
        graphs_BVR = self.norm_graphs(self.to_graphs(self.inner(packer.average_per_clip(x_NVC))))
        graphs_BVKV = graphs_BVR.tanh().relu().unflatten(2, (-1, x_NVC.shape[1]))
        return point_weights_NV1, graphs_BVKV.transpose(1, 2)
