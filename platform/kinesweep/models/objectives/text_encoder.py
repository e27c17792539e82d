"""A small encoder of texts for backbones without an encoder, used for alignment only.

Shapes: B texts, L tokens, E width.
"""

import math

import torch
from torch import Tensor, nn

from kinesweep.config.recipe.objectives.text_alignment import (
    BackboneTextEncoderConfig,
    TransformerTextEncoderConfig,
)
from kinesweep.core.errors import ConfigError

# Longest wavelength of the positions over 2π, as in "Attention Is All You Need".
_MAX_WAVELENGTH = 10_000.0


class TextEncoder(nn.Module):
    """A transformer over token embeddings with sinusoidal positions.

    Args:
        config: Layers, heads and dropout.
        width: Width E of the embeddings.
    """

    def __init__(self, config: TransformerTextEncoderConfig, width: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 4 * width, config.dropout, batch_first=True, norm_first=True
        )
        # Nested tensors, the fast path for padding, would change the shape of the output.
        self.layers = nn.TransformerEncoder(
            layer, config.layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )

    def forward(self, x_BLE: Tensor, mask_BL: Tensor) -> Tensor:
        """Encode texts; returns (B, L, E).

        Args:
            x_BLE: Token embeddings.
            mask_BL: Mask of the tokens, bool.
        """
        # Token embeddings alone have no order; backbones add positions later than here.
        x_BLE = x_BLE + _compute_positions(x_BLE)
        encoded_BLE: Tensor = self.layers(x_BLE, src_key_padding_mask=~mask_BL)
        return encoded_BLE


def build_text_encoder(
    config: BackboneTextEncoderConfig | TransformerTextEncoderConfig, width: int
) -> TextEncoder | None:
    """Build the own encoder of texts; None if the backbone's is used.

    Raises:
        ConfigError: If the number of heads does not divide the width.
    """
    if isinstance(config, BackboneTextEncoderConfig):
        return None
    # Checked here, because the width of a pretrained backbone is not in the recipe.
    if width % config.heads:
        text = f"must divide the width of the backbone, {width}, but is {config.heads}"
        raise ConfigError("the recipe", [("training.alignment.text_encoder.heads", text)])
    return TextEncoder(config, width)


def _compute_positions(x_BLE: Tensor) -> Tensor:
    """Compute sines and cosines of the positions of vectors, (L, E)."""
    length, width = x_BLE.shape[1:]
    # Rounded up for odd widths; the superfluous column is cut off below.
    half = torch.arange((width + 1) // 2, device=x_BLE.device)
    angle_LH = torch.arange(length, device=x_BLE.device)[:, None] * torch.exp(
        half * (-2 * math.log(_MAX_WAVELENGTH) / width)
    )
    return torch.cat([angle_LH.sin(), angle_LH.cos()], dim=1)[:, :width].to(x_BLE.dtype)
