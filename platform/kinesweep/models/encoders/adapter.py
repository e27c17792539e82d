"""The adapter encoder: a linear layer with a bottleneck adapter beside it.

The adapter (down, ReLU, up; Houlsby et al. 2019) corrects the linear layer's output with few
weights: 2 · E · bottleneck. Its last layer starts at zero, so training starts from the linear
layer alone.

Shapes: B clips, T frames, D features, E output width.
"""

from torch import Tensor, nn

from kinesweep.config.recipe.model.encoders import AdapterEncoderConfig
from kinesweep.models.encoders.frame_encoder import FrameEncoder, average_frames


class AdapterEncoder(FrameEncoder):
    """Maps each frame independently, with a correction through a bottleneck.

    Args:
        config: Bottleneck width and common settings.
        width: Input width D.
        out: Output width E.
    """

    def __init__(self, config: AdapterEncoderConfig, width: int, out: int) -> None:
        super().__init__(config, width)
        self.downsample = config.downsample
        self.linear = nn.Linear(self.width_in, out)
        self.norm = nn.LayerNorm(out)
        self.down = nn.Linear(out, config.bottleneck)
        self.dropout = nn.Dropout(config.dropout)
        self.up = nn.Linear(config.bottleneck, out)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        vars(self.up)["_is_hf_initialized"] = True  # keeps Hugging Face from drawing new weights
        self.norm_out = nn.LayerNorm(out) if config.norm_out else nn.Identity()

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
        x_BTE = x_BTE + self.up(self.dropout(self.down(self.norm(x_BTE)).relu()))
        return average_frames(self.norm_out(x_BTE), mask_BT, self.downsample)
