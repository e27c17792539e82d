"""The CNN encoder: gated convolutions over time, with strides.

A projection, then for each kernel a convolution, a gated linear unit and dropout. Two strides of 2
leave a quarter of the vectors, so the backbone's attention, which grows with their square, costs a
sixteenth. Padding is set to zero before each convolution, as beyond a clip's end when it is alone,
and the mask is computed anew: a clip in a batch equals the clip alone.

Shapes: B clips, T frames, D features, E width out.
"""

from itertools import pairwise
from math import prod

from torch import Tensor, arange, nn
from torch.nn import functional

from kinesweep.core.recipe.model import CnnEncoderConfig
from kinesweep.models.encoders.frames import FrameEncoder, Stands


class CnnEncoder(FrameEncoder):
    """Looks at several frames at a time and keeps every n-th.

    Args:
        config: kernels, strides, channels.
        width: D.
        out: E.
    """

    def __init__(self, config: CnnEncoderConfig, width: int, out: int) -> None:
        super().__init__(config, width)
        self.strides = config.strides
        self.project = nn.Linear(self.width_in, config.channels)
        widths = [config.channels] * len(config.kernels) + [out]
        # The unit halves the width: one half says how much of the other passes.
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, 2 * after, kernel, stride, padding=kernel // 2)
            for (before, after), kernel, stride in zip(
                pairwise(widths), config.kernels, config.strides, strict=True
            )
        )
        self.dropout = nn.Dropout(config.dropout)

    def stands_for(self, frames: int) -> list[Stands]:
        """The frames next to the middle of what a vector sees: n times the product of strides."""
        step = prod(self.strides)
        count = -(-frames // step)
        starts = [0, *(place * step - step // 2 for place in range(1, count)), frames]
        return [Stands(first, end) for first, end in pairwise(starts)]

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, T', E) and its mask; T' is T divided by each stride in turn, rounded up."""
        x_BET = self.project(self.begin(x_BTD)).transpose(1, 2)
        lengths_B = mask_BT.sum(dim=1)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            x_BET = convolution(x_BET.masked_fill(~mask_BT[:, None], 0))
            x_BET = self.dropout(functional.glu(x_BET, dim=1))
            lengths_B = -(-lengths_B // stride)
            mask_BT = arange(x_BET.shape[2], device=x_BET.device) < lengths_B[:, None]
        return x_BET.transpose(1, 2), mask_BT
