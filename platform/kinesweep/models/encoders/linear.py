"""The linear encoder: maps each frame independently with one matrix.

Standardize, layer norm, linear, gain, dropout, layer norm, ReLU; each step except the linear layer
is optional. The gain, a learned scale for each output dimension, is off by default (SSVP-SLT uses
it in place of the norms). The encoder does not see time; this is left to the backbone's attention.
With 534 features and width 128 it has 69,000 weights. Together with the concatenation and label
smoothing it adds a tenth to the time of the backbone's own step.

Shapes: B clips, T frames, D features, E output width.
"""

import torch
from torch import Tensor, nn

from kinesweep.config.recipe.model.encoders import LinearEncoderConfig
from kinesweep.models.encoders.frame_encoder import FrameEncoder, average_frames


class LinearEncoder(FrameEncoder):
    """Maps each frame independently.

    Args:
        config: Switches for the optional steps.
        width: Input width D.
        out: Output width E.
    """

    def __init__(self, config: LinearEncoderConfig, width: int, out: int) -> None:
        super().__init__(config, width)
        self.downsample = config.downsample
        self.linear = nn.Linear(self.width_in, out)
        self.gain = nn.Parameter(torch.ones(out)) if config.gain else None
        self.dropout = nn.Dropout(config.dropout)
        self.norm_out = nn.LayerNorm(out) if config.norm_out else nn.Identity()
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Identity()

    def count_vectors(self, num_frames: int) -> int:
        """Count the output vectors of a clip."""
        return -(-num_frames // self.downsample)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each frame independently, then average every `downsample` frames.

        Args:
            x_BTD: Features.
            mask_BT: Mask of the frames, bool, True on the left only.

        Returns:
            Vectors (B, ceil(T / downsample), E) and their mask.
        """
        x_BTE = self.linear(self.preprocess(x_BTD))
        if self.gain is not None:
            x_BTE = x_BTE * self.gain
        x_BTE = self.activation(self.norm_out(self.dropout(x_BTE)))
        return average_frames(x_BTE, mask_BT, self.downsample)
