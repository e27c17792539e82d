"""The encoder of part graphs: a network for body, hands and face each, joined frame by frame.

In each part: linear layer → 3 spatial blocks → sum with the body's features → temporal blocks →
average over points. The parts' vectors are concatenated and mapped to the backbone's width. Both
hands share their weights. With the published sizes and the 69 points of Uni-Sign (arXiv 2501.15187)
the networks have 4.56 million weights and the last layer 0.79 million. That is 4 · 256 fewer than
published: the bias of the last layer's input is left out, because the layer has a bias anyway.

Shapes: N real frames of all clips, B clips, T frames, D features, V points, S graphs, C channels, P
parts, W output width, E output width of the encoder.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path
from torch import Tensor, nn

from kinesweep.config.recipe.model.part_graph import PartGraphEncoderConfig
from kinesweep.core.errors import ConfigError
from kinesweep.core.skeleton.body_parts import BodyPart, find_body_parts
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.encoders.frame_encoder import (
    SourceSpan,
    average_frames,
    list_source_spans,
)
from kinesweep.models.encoders.graph_blocks import mix_points
from kinesweep.models.encoders.graph_encoder import GraphEncoder, count_point_channels
from kinesweep.models.encoders.packed_frames import FramePacker

# Widths of the spatial blocks, in units of `channels`; temporal blocks keep the last.
_WIDTHS = (1, 1, 2, 4)


class PartGraphEncoder(GraphEncoder):
    """An encoder with a network for each part of the body.

    Args:
        config: Sizes and switches.
        width: Input width D.
        out: Output width E.
        skeleton: Skeleton of the points, whose components are the parts.

    Raises:
        ConfigError: If a switch needs parts that the skeleton lacks.
    """

    def __init__(
        self, config: PartGraphEncoderConfig, width: int, out: int, skeleton: Skeleton
    ) -> None:
        parts = find_body_parts(skeleton)
        _check_parts(config, parts)
        network = _PartGraphNetwork(config, count_point_channels(config, width, skeleton), parts)
        graphs = _build_part_graphs(parts, config.hops)
        super().__init__(config, network, width, out, skeleton, graphs_SVV=graphs)
        self.downsample = config.downsample

    def forward(
        self, x_BTD: Tensor, mask_BT: Tensor, lengths: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode clips as one vector for every `downsample` frames.

        Args:
            x_BTD: Features.
            mask_BT: Mask of the frames, bool, True on the left only.
            lengths: Number of frames of each clip; None: they are read from the mask.

        Returns:
            Vectors (B, ceil(T / downsample), E) and their mask.
        """
        return average_frames(*super().forward(x_BTD, mask_BT, lengths), self.downsample)

    def count_vectors(self, num_frames: int) -> int:
        """Count the output vectors of a clip."""
        return -(-num_frames // self.downsample)

    def get_source_spans(self, num_frames: int) -> list[SourceSpan]:
        """Return the frames that each output vector of a clip represents, in time order."""
        return list_source_spans(num_frames, self.downsample)


class _PartGraphNetwork(nn.Module):
    """The networks of all parts.

    Args:
        config: Sizes and switches.
        channels: Number of input channels of each point.
        parts: Parts of the body.

    Attributes:
        width: Output width W, that of a part times the number of parts.
    """

    def __init__(
        self, config: PartGraphEncoderConfig, channels: int, parts: tuple[BodyPart, ...]
    ) -> None:
        super().__init__()
        self._parts, self._fuse = parts, config.fuse_body
        self.width = _WIDTHS[-1] * config.channels * len(parts)
        is_shared = config.share_hands and {"left_hand", "right_hand"} <= {p.kind for p in parts}
        self._keys = [
            "hand" if is_shared and part.kind.endswith("_hand") else f"part_{index}"
            for index, part in enumerate(parts)
        ]
        self.parts = nn.ModuleDict()
        for key, part in zip(self._keys, parts, strict=True):
            # One module for both hands: a second one would be a copy with weights of its own.
            if key not in self.parts:
                self.parts[key] = _PartNetwork(config, channels, part.num_points)

    def forward(self, x_NVC: Tensor, packer: FramePacker, skeleton_graphs_SVV: Tensor) -> Tensor:
        """Run the network of each part; returns (N, 1, W), the parts beside each other.

        Args:
            x_NVC: Input channels of each point in each real frame.
            packer: Positions of the real frames in the batch.
            skeleton_graphs_SVV: Graphs of all points, which connect no two parts.
        """
        # Filled by index, because parts are computed in another order than they are joined.
        pooled: list[Tensor] = [x_NVC] * len(self._parts)
        body_NVC: Tensor | None = None
        # The body first, because its features are added to those of the others.
        order = sorted(range(len(self._parts)), key=lambda at: self._parts[at].kind != "body")
        for index in order:
            part = self._parts[index]
            network: Any = self.parts[self._keys[index]]
            points = slice(part.first, part.end)
            graphs_SVV = skeleton_graphs_SVV[:, points, points]
            part_NVC = network.encode_space(x_NVC[:, points], packer, graphs_SVV)
            if part.kind == "body":
                body_NVC = part_NVC
            elif self._fuse != "none" and body_NVC is not None:
                added_N1C = body_NVC[:, list(part.attachment)].mean(dim=1, keepdim=True)
                # Without a gradient, the body does not learn to serve the other parts.
                part_NVC = part_NVC + (
                    added_N1C.detach() if self._fuse == "detached" else added_N1C
                )
            pooled[index] = network.encode_time(part_NVC, packer, graphs_SVV).mean(dim=1)
        return torch.cat(pooled, dim=1)[:, None]


class _PartNetwork(nn.Module):
    """The network of one part.

    Args:
        config: Sizes of the blocks.
        channels: Number of input channels of each point.
        num_points: Number of points V.
    """

    def __init__(self, config: PartGraphEncoderConfig, channels: int, num_points: int) -> None:
        super().__init__()
        widths = [factor * config.channels for factor in _WIDTHS]
        common: dict[str, Any] = {"num_graphs": config.hops + 1, "num_points": num_points}
        self.project = nn.Linear(channels, widths[0])
        self.spatial = nn.ModuleList(PartGraphBlock(pair, **common) for pair in pairwise(widths))
        self.temporal = nn.ModuleList(
            PartGraphBlock(
                (widths[-1], widths[-1]), **common, kernel=config.kernel, dropout=config.dropout
            )
            for _ in range(config.blocks)
        )

    def encode_space(self, x_NVC: Tensor, packer: FramePacker, graphs_SVV: Tensor) -> Tensor:
        """Project each point and run the spatial blocks; returns (N, V, C').

        Args:
            x_NVC: Input channels of the part's points in each real frame.
            packer: Positions of the real frames in the batch.
            graphs_SVV: Graphs of the part.
        """
        return _run_blocks(self.spatial, self.project(x_NVC), packer, graphs_SVV)

    def encode_time(self, x_NVC: Tensor, packer: FramePacker, graphs_SVV: Tensor) -> Tensor:
        """Run the temporal blocks on the output of `encode_space`; returns (N, V, C')."""
        return _run_blocks(self.temporal, x_NVC, packer, graphs_SVV)


class PartGraphBlock(nn.Module):
    """Linear → graph → norm → ReLU → (time → norm → dropout), plus the input → ReLU.

    Unlike in `GraphBlock`, any two points may become connected: learned weights are added to the
    graphs. The linear layer comes first, because its bias is not the same for all points after it.

    Args:
        widths: Input and output channels.
        num_graphs: Number of graphs S.
        num_points: Number of points V.
        kernel: Kernel size over time, in frames; None for a block within frames.
        dropout: Dropout probability after the convolution over time.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        num_graphs: int,
        num_points: int,
        kernel: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width, out = widths
        self.num_graphs = num_graphs
        # Zero, so that training starts from the graphs of the skeleton.
        self.edges = nn.Parameter(torch.zeros(num_graphs, num_points, num_points))
        self.linear = nn.Linear(width, num_graphs * out)
        self.norm_graph = BatchNorm(out)
        self.time: nn.Conv2d | None = None
        if kernel is not None:
            self.time = nn.Conv2d(out, out, (kernel, 1), padding=(kernel // 2, 0))
            self.norm_time = BatchNorm(out)
        self.dropout = nn.Dropout(dropout)
        self.residual: nn.Module = nn.Identity()
        if width != out:
            self.residual = nn.Sequential(nn.Linear(width, out), BatchNorm(out))

    def forward(self, x_NVC: Tensor, packer: FramePacker, graphs_SVV: Tensor) -> Tensor:
        """Mix points by the graphs, convolve over time, add the input; returns (N, V, C').

        Args:
            x_NVC: Real frames.
            packer: Positions of the real frames in the batch.
            graphs_SVV: Graphs that the learned weights are added to.
        """
        # A point receives S messages from each point, so the matrix has V rows and V · S columns.
        messages_NRC = self.linear(x_NVC).unflatten(2, (self.num_graphs, -1)).flatten(1, 2)
        rows_VR = (graphs_SVV + self.edges).permute(1, 2, 0).flatten(1)
        out_NVC = self.norm_graph(mix_points(rows_VR[None], messages_NRC)).relu()
        if self.time is not None:
            out_NVC = self.norm_time(packer.convolve_frames(out_NVC, self.time))
            out_NVC = self.dropout(out_NVC)
        return (out_NVC + self.residual(x_NVC)).relu()


def _run_blocks(
    blocks: nn.ModuleList, x_NVC: Tensor, packer: FramePacker, graphs_SVV: Tensor
) -> Tensor:
    """Run instances of `PartGraphBlock` one after the other; returns (N, V, C')."""
    for block in blocks:
        x_NVC = block(x_NVC, packer, graphs_SVV)
    return x_NVC


def _check_parts(config: PartGraphEncoderConfig, parts: tuple[BodyPart, ...]) -> None:
    """Check that the settings `share_hands` and `fuse_body` fit the parts.

    Args:
        config: Settings of the encoder.
        parts: Parts of the body.

    Raises:
        ConfigError: If hands that share weights differ, or there is no body to add.
    """
    kinds = {part.kind: part for part in parts}
    problems = []
    left, right = kinds.get("left_hand"), kinds.get("right_hand")
    graphs = {(hand.num_points, hand.edges) for hand in (left, right) if hand is not None}
    if config.share_hands and left and right and len(graphs) == 2:
        text = (
            f"`{left.component}` ({left.num_points} points) and `{right.component}`"
            f" ({right.num_points}) have different graphs and cannot share weights; set it to false"
        )
        problems.append(("model.encoder.share_hands", text))
    if config.fuse_body != "none" and "body" not in kinds:
        components = ", ".join(f"`{part.component}`" for part in parts)
        text = f"is `{config.fuse_body}`, but none of {components} is a body; set it to `none`"
        problems.append(("model.encoder.fuse_body", text))
    if problems:
        raise ConfigError("the model", problems)


def _build_part_graphs(parts: tuple[BodyPart, ...], hops: int) -> NDArray[np.float32]:
    """Build the graphs of all parts: one for each distance in edges from 0 to `hops`.

    The weights with which a point receives itself and others sum to 1 over all graphs. Points of
    different parts are not connected.

    Args:
        parts: Parts of the body.
        hops: Largest number of edges between two points that a graph connects.

    Returns:
        Graphs (S, V, V) over all points, with S = hops + 1.
    """
    num_points = parts[-1].end
    edges = [(part.first + start, part.first + end) for part in parts for start, end in part.edges]
    starts, ends = np.array(edges, np.intp).reshape(-1, 2).T
    adjacency_VV = coo_array((np.ones(len(edges)), (starts, ends)), shape=(num_points, num_points))
    # Infinite between points that no path joins, which are then in none of the graphs.
    distance_VV = shortest_path(adjacency_VV.tocsr(), directed=False, unweighted=True)
    graphs_SVV = np.stack([distance_VV == hop for hop in range(hops + 1)]).astype(np.float32)
    # No sum is 0: every point is at distance 0 from itself.
    return np.asarray(graphs_SVV / graphs_SVV.sum(axis=(0, 2))[None, :, None], np.float32)
