"""What graph encoders share: points of a stream in, vectors of the backbone's width out.

Standardise → bones → velocities → the network's blocks → means over points, frames or both → one
matrix. The weights know a point by its bones alone, or begin equal on both sides of the body:
frames whose points are swapped with their mirror images come out swapped, exactly, until training
tells sides apart. So statistics are shared by both sides too, at the price that where a side
always is stays in its values. A real mirror image has one coordinate negated besides; weights that
read coordinates do not know that, so it comes out otherwise and has to be learnt
(`batch.augmentation.mirror`).

Shapes: B clips, T frames, D features, V points, C coordinates, N real frames, W width of the
network, E width out, M vectors out.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.core.recipe.graph import GraphEncoderConfig
from kinesweep.core.skeleton import ROOT, Skeleton
from kinesweep.models.adapters import adapt_layers, is_of_adapter
from kinesweep.models.encoders.frames import LEAST_DEVIATION
from kinesweep.models.encoders.partition import partition
from kinesweep.models.encoders.reel import Reel


class GraphEncoder(nn.Module):
    """A network between points and vectors.

    Args:
        config: its recipe part.
        network: called as `(x_NVC, reel, skeleton_KVV) -> x_NVW`; its `width` is W.
        width: D.
        out: E.
        skeleton: of the V points.
    """

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
    ) -> None:
        super().__init__()
        self.config = config
        self.num_points = skeleton.num_points
        self.mirror = list(skeleton.mirror)
        if config.standardize:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("scale", torch.ones(width))
        own = [at if up == ROOT else up for at, up in enumerate(skeleton.parents)]
        self.register_buffer("parents", torch.tensor(own))
        self.register_buffer("graphs", torch.from_numpy(partition(skeleton, config.hops)))
        self.network: Any = network
        self.project = nn.Linear(network.width, out)  # type: ignore[arg-type]
        if config.lora is not None:
            adapt_layers(network, config.lora)
        self.freeze()
        for module in self.modules():
            # Hugging Face would draw weights anew, over those that begin equal or with zeros.
            module._is_hf_initialized = True  # type: ignore[assignment]

    def freeze(self) -> None:
        """Beside adapters the network's own weights stay."""
        if self.config.lora is not None:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(is_of_adapter(name))

    def set_statistics(self, mean_D: Tensor, deviation_D: Tensor) -> None:
        """Takes over the training split's statistics; they are saved with the weights."""
        if self.config.standardize:
            self.mean.copy_(self._of_both_sides(mean_D))
            deviation_D = self._of_both_sides(deviation_D.square()).sqrt()
            self.scale.copy_(1 / deviation_D.clamp_min(LEAST_DEVIATION))

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, M, E) and its mask; M is T, V, or V + T by what is averaged."""
        reel = Reel(mask_BT)
        x_NVW = self.network(self.begin(x_BTD, reel), reel, self.graphs)
        vectors, masks = [], []
        if self.config.pooling != "skeleton":
            vectors.append(reel.mean(x_NVW))
            masks.append(mask_BT.any(dim=1, keepdim=True).expand(-1, self.num_points))
        if self.config.pooling != "time":
            vectors.append(reel.spread(x_NVW.mean(dim=1)))
            masks.append(mask_BT)
        return self.project(torch.cat(vectors, dim=1)), torch.cat(masks, dim=1)

    def point_features(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """What the network says of each point in each frame, (B, T, V, W); padding is zero."""
        reel = Reel(mask_BT)
        return reel.spread(self.network(self.begin(x_BTD, reel), reel, self.graphs))

    def begin(self, x_BTD: Tensor, reel: Reel) -> Tensor:
        """Real frames' points with all that is said of each, (N, V, `channels_of`)."""
        if self.config.standardize:
            x_BTD = x_BTD - self.mean.to(x_BTD.dtype)
        x_BTVC = x_BTD.unflatten(2, (self.num_points, -1))
        if self.config.bones:
            # At a root it is zero: it is its own parent.
            bones_BTVC = x_BTVC - x_BTVC.index_select(2, self.parents)
            x_BTVC = torch.cat([x_BTVC, bones_BTVC], dim=3)
        if self.config.standardize:
            scale_VC = self.scale.to(x_BTD.dtype).unflatten(0, (self.num_points, -1))
            x_BTVC = x_BTVC * scale_VC.repeat(1, 2 if self.config.bones else 1)
        if self.config.velocity:
            moved_BTVC = functional.pad(x_BTVC[:, 1:] - x_BTVC[:, :-1], (0, 0, 0, 0, 1, 0))
            x_BTVC = torch.cat([x_BTVC, moved_BTVC], dim=3)
        return reel.pack(x_BTVC)

    def _of_both_sides(self, values_D: Tensor) -> Tensor:
        """The mean of each point's values and its mirror image's."""
        values_VC = values_D.unflatten(0, (self.num_points, -1))
        return ((values_VC + values_VC[self.mirror]) / 2).flatten()


def channels_of(config: GraphEncoderConfig, width: int, skeleton: Skeleton) -> int:
    """Values of one point that a network reads: coordinates, bones, and the velocities of both."""
    each = width // skeleton.num_points
    return each * (2 if config.bones else 1) * (2 if config.velocity else 1)
