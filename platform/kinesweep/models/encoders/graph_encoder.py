"""The base class of graph encoders: from the points of a stream to vectors of the backbone's width.

Standardize → bones → velocities → blocks of the network → average over points, frames or both →
linear layer. The weights know a point only by its bones, or start equal on both sides of the body:
frames whose points are swapped with their mirror points give exactly swapped outputs, until
training distinguishes the sides. For this, both sides also share their statistics, so the average
position of a side stays in its values. A real mirror image also negates one coordinate; weights
that read coordinates do not know this, so it gives another output and has to be learned
(`batch.augmentation.mirror`).

Shapes: B clips, T frames, D features, V points, C coordinates or channels of a point, N real frames
of all clips, S skeleton graphs, W width of the network, E output width, M output vectors.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.config.recipe.model.graph import GraphEncoderConfig
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton
from kinesweep.models.encoders.frame_encoder import MIN_STD, SourceSpan
from kinesweep.models.encoders.packed_frames import FramePacker
from kinesweep.models.encoders.partition import build_graph_partition
from kinesweep.models.lora import add_lora_to_linear_layers, is_adapter_weight


class GraphEncoder(nn.Module):
    """A network on the points of a skeleton, with its input steps and output layer.

    Args:
        config: The recipe's section for this encoder.
        network: Network, called as `(x_NVC, packer, skeleton_graphs_SVV) -> x_NVW`; its
            attribute `width` is W.
        width: Input width D.
        out: Output width E.
        skeleton: Skeleton of the V points.
        graphs_SVV: Graphs that the network reads; default: those of the skeleton's partition.

    Attributes:
        reads_lengths: Whether `forward` takes the lengths of the clips as its third argument.
    """

    reads_lengths = True
    mean: Tensor
    scale: Tensor
    parents: Tensor
    graphs: Tensor

    def __init__(
        self,
        config: GraphEncoderConfig,
        network: nn.Module,
        width: int,
        out: int,
        skeleton: Skeleton,
        *,
        graphs_SVV: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_points = skeleton.num_points
        self.mirror = list(skeleton.mirror)
        if config.standardize:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("scale", torch.ones(width))
        # A root is its own parent, so its bone is the zero vector.
        parent_indices = [
            index if parent == ROOT else parent for index, parent in enumerate(skeleton.parents)
        ]
        self.register_buffer("parents", torch.tensor(parent_indices))
        if graphs_SVV is None:
            graphs_SVV = build_graph_partition(skeleton, config.hops)
        self.register_buffer("graphs", torch.from_numpy(graphs_SVV))
        self.network: Any = network
        self.project = nn.Linear(network.width, out)  # type: ignore[arg-type]
        # Adapters go into the network only; the output layer is trained in full.
        if config.lora is not None:
            add_lora_to_linear_layers(network, config.lora)
        self.freeze_base_weights()
        for module in self.modules():
            # Keep Hugging Face from drawing new weights: some start at zero or equal on both sides.
            module._is_hf_initialized = True  # type: ignore[assignment]

    def freeze_base_weights(self) -> None:
        """Freeze all weights of the network except its adapters; do nothing if it has none."""
        if self.config.lora is not None:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(is_adapter_weight(name))

    def set_statistics(self, mean_D: Tensor, deviation_D: Tensor) -> None:
        """Set the statistics for standardization, averaged over both sides of the body.

        They are saved with the weights. Without standardization nothing is set.

        Args:
            mean_D: Mean of each feature in the training split.
            deviation_D: Standard deviation of each feature in the training split.
        """
        if self.config.standardize:
            self.mean.copy_(self._average_mirror_points(mean_D))
            deviation_D = self._average_mirror_points(deviation_D.square()).sqrt()
            self.scale.copy_(1 / deviation_D.clamp_min(MIN_STD))

    def forward(
        self, x_BTD: Tensor, mask_BT: Tensor, lengths: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode clips as vectors for their frames, their points or both.

        Args:
            x_BTD: Features.
            mask_BT: Mask of the frames, bool, True on the left only.
            lengths: Number of frames of each clip; None: they are read from the mask.

        Returns:
            Vectors (B, M, E) and their mask, bool (B, M). With pooling `skeleton` there is a vector
            for each frame (M = T), with `time` for each point (M = V), otherwise for each point and
            then for each frame (M = V + T).
        """
        packer = FramePacker(mask_BT, lengths)
        x_NVW = self.network(self.preprocess(x_BTD, packer), packer, self.graphs)
        vectors, masks = [], []
        # "skeleton" averages over points (one vector per frame), "time" over frames (one vector per
        # point); otherwise both kinds are returned, points first.
        if self.config.pooling != "skeleton":
            vectors.append(packer.average_per_clip(x_NVW))
            masks.append(mask_BT.any(dim=1, keepdim=True).expand(-1, self.num_points))
        if self.config.pooling != "time":
            vectors.append(packer.unpack(x_NVW.mean(dim=1)))
            masks.append(mask_BT)
        return self.project(torch.cat(vectors, dim=1)), torch.cat(masks, dim=1)

    def count_vectors(self, num_frames: int) -> int:
        """Count the output vectors of a clip."""
        num_points = 0 if self.config.pooling == "skeleton" else self.num_points
        return num_points + (0 if self.config.pooling == "time" else num_frames)

    def get_source_spans(self, num_frames: int) -> list[SourceSpan]:
        """Return the frames and the point that each output vector of a clip represents.

        Args:
            num_frames: Number of real frames of the clip.

        Returns:
            The source of each vector, in the order in which `forward` returns them.
        """
        pooling = self.config.pooling
        points = range(self.num_points if pooling != "skeleton" else 0)
        frame_indices = range(num_frames if pooling != "time" else 0)
        return [
            *(SourceSpan(0, num_frames, point) for point in points),
            *(SourceSpan(frame, frame + 1) for frame in frame_indices),
        ]

    def compute_point_features(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Compute the network's output for each point and frame, (B, T, V, W); zero at padding.

        Args:
            x_BTD: Features.
            mask_BT: Mask of the frames, bool, True on the left only.
        """
        packer = FramePacker(mask_BT)
        return packer.unpack(self.network(self.preprocess(x_BTD, packer), packer, self.graphs))

    def preprocess(self, x_BTD: Tensor, packer: FramePacker) -> Tensor:
        """Compute the input channels of each point in each real frame, (N, V, C).

        The channels are the standardized coordinates, bones, and velocities of both; each step that
        the configuration switches off is left out.
        """
        if self.config.standardize:
            x_BTD = x_BTD - self.mean.to(x_BTD.dtype)
        x_BTVC = x_BTD.unflatten(2, (self.num_points, -1))
        if self.config.bones:
            # Before scaling: the difference between two points needs a common unit.
            bones_BTVC = x_BTVC - x_BTVC.index_select(2, self.parents)
            x_BTVC = torch.cat([x_BTVC, bones_BTVC], dim=3)
        if self.config.standardize:
            # Bones use the scale of their point, so both have the same unit.
            scale_VC = self.scale.to(x_BTD.dtype).unflatten(0, (self.num_points, -1))
            x_BTVC = x_BTVC * scale_VC.repeat(1, 2 if self.config.bones else 1)
        if self.config.velocity:
            velocity_BTVC = functional.pad(x_BTVC[:, 1:] - x_BTVC[:, :-1], (0, 0, 0, 0, 1, 0))
            x_BTVC = torch.cat([x_BTVC, velocity_BTVC], dim=3)
        return packer.pack(x_BTVC)

    def _average_mirror_points(self, values_D: Tensor) -> Tensor:
        """Average the values of each point with those of its mirror point; returns (D,)."""
        values_VC = values_D.unflatten(0, (self.num_points, -1))
        return ((values_VC + values_VC[self.mirror]) / 2).flatten()


def count_point_channels(config: GraphEncoderConfig, width: int, skeleton: Skeleton) -> int:
    """Count the input channels of a point: coordinates, bones, and the velocities of both.

    Args:
        config: Switches for bones and velocities.
        width: Values per frame, D.
        skeleton: Skeleton of the V points.
    """
    num_coordinates = width // skeleton.num_points
    return num_coordinates * (2 if config.bones else 1) * (2 if config.velocity else 1)
