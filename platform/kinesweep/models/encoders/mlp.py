"""The MLP encoder: each frame on its own through hidden layers.

What one matrix cannot see, such as a hand's shape wherever the hand is, a hidden layer can; it
costs that layer's weights (534 → 512 → 128: 339,000 against the linear encoder's 69,000) and sees
no more of time. One layer as wide as what leaves, with GELU, is the usual projector of features
into a language model (LLaVA's, and Sign_LLaVA's where it is not linear).

Shapes: B clips, T frames, D features, E width out.
"""

from torch import Tensor, nn

from kinesweep.core.recipe.model import MlpEncoderConfig
from kinesweep.models.encoders.frames import FrameEncoder, mean_of_frames

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class MlpEncoder(FrameEncoder):
    """Maps every frame alike, through hidden layers.

    Args:
        config: their widths and activation.
        width: D.
        out: E.
    """

    def __init__(self, config: MlpEncoderConfig, width: int, out: int) -> None:
        super().__init__(config, width)
        self.downsample = config.downsample
        activation = _ACTIVATIONS[config.activation]
        layers: list[nn.Module] = []
        last = self.width_in
        for hidden in config.hidden:
            layers += [nn.Linear(last, hidden), activation(), nn.Dropout(config.dropout)]
            last = hidden
        self.hidden = nn.Sequential(*layers)
        self.linear = nn.Linear(last, out)
        self.norm_out = nn.LayerNorm(out) if config.norm_out else nn.Identity()

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, T, E) and the mask, both shorter when it downsamples."""
        x_BTE = self.norm_out(self.linear(self.hidden(self.begin(x_BTD))))
        return mean_of_frames(x_BTE, mask_BT, self.downsample)
