"""The linear encoder: each frame on its own through one matrix.

Standardising, layer norm, linear, dropout, layer norm, ReLU; each but the linear can be left out.
Standardising matters most: without it the constant place of a face hides what moves. The encoder
has no sight of time: that is left to the backbone's attention. With 534 features and width 128 it
has 69,000 weights; with the splice and the smoothing it adds a tenth to the backbone's own step.

Shapes: B clips, T frames, D features, E width out.
"""

import torch
from torch import Tensor, nn

from kinesweep.core.recipe.model import LinearEncoderConfig

_LEAST_DEVIATION = 0.1
"""Deviations below it count as this one: a face's jitter must not grow to the size of hands.

76 BLEU with 0.01 and 85 with 0.1 in the same minute of training (LOG.md). In the features' units,
for poses shoulder widths.
"""


class LinearEncoder(nn.Module):
    """Maps every frame alike.

    Args:
        config: which of its parts are there.
        width: D.
        out: E.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: LinearEncoderConfig, width: int, out: int) -> None:
        super().__init__()
        self.standardize = config.standardize
        if config.standardize:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("scale", torch.ones(width))
        self.norm_in = nn.LayerNorm(width) if config.norm_in else nn.Identity()
        self.linear = nn.Linear(width, out)
        self.dropout = nn.Dropout(config.dropout)
        self.norm_out = nn.LayerNorm(out) if config.norm_out else nn.Identity()
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Identity()

    def set_statistics(self, mean_D: Tensor, deviation_D: Tensor) -> None:
        """Takes over the training split's statistics; they are saved with the weights."""
        if self.standardize:
            self.mean.copy_(mean_D)
            self.scale.copy_(1 / deviation_D.clamp_min(_LEAST_DEVIATION))

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, T, E) and the mask as it came."""
        if self.standardize:
            x_BTD = (x_BTD - self.mean.to(x_BTD.dtype)) * self.scale.to(x_BTD.dtype)
        x_BTE = self.dropout(self.linear(self.norm_in(x_BTD)))
        return self.activation(self.norm_out(x_BTE)), mask_BT
