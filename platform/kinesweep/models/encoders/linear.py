"""The linear encoder: each frame on its own through one matrix.

Standardising, layer norm, linear, gain, dropout, layer norm, ReLU; each but the linear can be left
out, and the gain, a learnt scale of each output dimension, is off unless asked for (SSVP-SLT has it
in place of the norms).
The encoder has no sight of time: that is left to the backbone's attention. With 534 features and
width 128 it has 69,000 weights; with the splice and the smoothing it adds a tenth to the backbone's
own step.

Shapes: B clips, T frames, D features, E width out.
"""

import torch
from torch import Tensor, nn

from kinesweep.core.recipe.model import LinearEncoderConfig
from kinesweep.models.encoders.frames import FrameEncoder, mean_of_frames


class LinearEncoder(FrameEncoder):
    """Maps every frame alike.

    Args:
        config: which of its parts are there.
        width: D.
        out: E.
    """

    def __init__(self, config: LinearEncoderConfig, width: int, out: int) -> None:
        super().__init__(config, width)
        self.downsample = config.downsample
        self.linear = nn.Linear(self.width_in, out)
        self.gain = nn.Parameter(torch.ones(out)) if config.gain else None
        self.dropout = nn.Dropout(config.dropout)
        self.norm_out = nn.LayerNorm(out) if config.norm_out else nn.Identity()
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Identity()

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, T, E) and the mask, both shorter when it downsamples."""
        x_BTE = self.linear(self.begin(x_BTD))
        if self.gain is not None:
            x_BTE = x_BTE * self.gain
        x_BTE = self.activation(self.norm_out(self.dropout(x_BTE)))
        return mean_of_frames(x_BTE, mask_BT, self.downsample)
