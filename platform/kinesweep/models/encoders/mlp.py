"""The MLP encoder: maps each frame independently through hidden layers.

A hidden layer can represent what one matrix cannot, such as the shape of a hand regardless of its
position. It costs the weights of this layer (534 → 512 → 128: 339,000 instead of the linear
encoder's 69,000) and sees no more of time. One hidden layer as wide as the output, with GELU, is
the usual projector of features into a language model (that of LLaVA, and of Sign_LLaVA where it is
not linear).

Shapes: B clips, T frames, D features, E output width.
"""

from torch import Tensor, nn

from kinesweep.config.recipe.model.encoders import MlpEncoderConfig
from kinesweep.models.encoders.frame_encoder import FrameEncoder, average_frames

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class MlpEncoder(FrameEncoder):
    """Maps each frame independently through hidden layers.

    Args:
        config: Widths and activation of the hidden layers.
        width: Input width D.
        out: Output width E.
    """

    def __init__(self, config: MlpEncoderConfig, width: int, out: int) -> None:
        super().__init__(config, width)
        self.downsample = config.downsample
        activation = _ACTIVATIONS[config.activation]
        layers: list[nn.Module] = []
        last_width = self.width_in
        for hidden_width in config.hidden:
            linear = nn.Linear(last_width, hidden_width)
            layers += [linear, activation(), nn.Dropout(config.dropout)]
            last_width = hidden_width
        self.hidden = nn.Sequential(*layers)
        self.linear = nn.Linear(last_width, out)
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
        x_BTE = self.norm_out(self.linear(self.hidden(self.preprocess(x_BTD))))
        return average_frames(x_BTE, mask_BT, self.downsample)
