"""The linear encoder: each frame on its own through one matrix.

Layer norm, linear, dropout, layer norm, ReLU; each but the linear can be left out. It has no sight
of time: that is left to the backbone's attention. With 534 features and width 128 it has 69,000
weights and takes about 2 % of a training step.

Shapes: B clips, T frames, D features, E width out.
"""

from torch import Tensor, nn

from kinesweep.core.recipe.model import LinearEncoderConfig


class LinearEncoder(nn.Module):
    """Maps every frame alike.

    Args:
        config: which of its parts are there.
        width: D.
        out: E.
    """

    def __init__(self, config: LinearEncoderConfig, width: int, out: int) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(width) if config.norm_in else nn.Identity()
        self.linear = nn.Linear(width, out)
        self.dropout = nn.Dropout(config.dropout)
        self.norm_out = nn.LayerNorm(out) if config.norm_out else nn.Identity()
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Identity()

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, T, E) and the mask as it came."""
        x_BTE = self.dropout(self.linear(self.norm_in(x_BTD)))
        return self.activation(self.norm_out(x_BTE)), mask_BT
