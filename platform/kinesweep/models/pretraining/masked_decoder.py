"""The part of masked autoencoding that only pretraining needs: fusion of stages, and a decoder.

Weights have the names that the published checkpoints of Hiera use for them, so a file with both
parts can be read, and the encoder `signhiera` skips those of this one.

Shapes: B windows, U mask units, N visible units, R = S rows and columns of a unit in tokens, D
width, P = 32 · 32 · 3 pixel values of a unit.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig
from kinesweep.features.encoders.signhiera import FRAMES_PER_TIME_STEP, HieraGeometry, HieraLayer
from kinesweep.features.encoders.strict_loading import CheckpointLayout, load_checkpoint
from kinesweep.models.pretraining.initialization import POSITION_STD, initialize_linear
from kinesweep.models.pretraining.masked_encoder import run_layer
from kinesweep.models.pretraining.unit_masks import UnitMasks

_EPS = 1e-6
_NUM_COLORS = 3
_LAYOUT = CheckpointLayout(
    containers=("model", "model_state"),
    prefixes=("",),
    # The encoder, which is loaded by itself.
    ignored_prefixes=("patch_embed.", "pos_embed_spatial", "pos_embed_temporal", "blocks."),
    hint="Give `best/objective.safetensors` of a run with the same sizes of model and decoder.",
)


class MaskedDecoder(nn.Module):
    """A decoder from the stages of the encoder to the pixels of all mask units.

    Args:
        geometry: Size of the encoder.
        config: The recipe's `objective` section.
    """

    def __init__(self, geometry: HieraGeometry, config: MaskedAutoencodingConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.multi_scale_fusion_heads = _build_fusion_heads(geometry)
        self.encoder_norm = nn.LayerNorm(geometry.output_width, eps=_EPS)
        self.decoder_embed = nn.Linear(geometry.output_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        num_steps = geometry.max_frames // FRAMES_PER_TIME_STEP
        num_units = num_steps * geometry.units_per_side**2
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, num_units, width))
        self.decoder_blocks = nn.ModuleList(
            HieraLayer(width, width, config.decoder_heads, pooled=False, unit=None)
            for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(width, eps=_EPS)
        self.decoder_pred = nn.Linear(width, geometry.unit_pixels**2 * _NUM_COLORS)
        self._initialize()

    def forward(
        self, stages: Sequence[Tensor], masks: UnitMasks, gradient_checkpointing: bool = False
    ) -> Tensor:
        """Predict the pixels of all mask units, (B, U, P).

        Args:
            stages: Outputs of the encoder's stages for the visible units.
            masks: Visible and real mask units.
            gradient_checkpointing: Recompute each layer in the backward pass.
        """
        x_BND = self.encoder_norm(self._fuse_stages(stages))
        x_BUD = self._place_units(self.decoder_embed(x_BND), masks)
        # Layers take time steps, rows and columns; attention over the whole window ignores them.
        x_BU11D = (x_BUD + self.decoder_pos_embed[:, : x_BUD.shape[1]])[:, :, None, None]
        # Attention without a mask runs on faster kernels.
        is_real_BU = None if bool(masks.is_real_BU.all()) else masks.is_real_BU
        for layer in self.decoder_blocks:
            x_BU11D = run_layer(layer, gradient_checkpointing, x_BU11D, is_real_BU)
        return self.decoder_pred(self.decoder_norm(x_BU11D[:, :, 0, 0]))

    def _fuse_stages(self, stages: Sequence[Tensor]) -> Tensor:
        """Add the outputs of all stages, each brought to one token per mask unit, (B, N, D)."""
        # The last stage has one token per unit already.
        fused_BND = stages[-1][:, :, 0, 0]
        for head, x_BNRSD in zip(self.multi_scale_fusion_heads, stages[:-1], strict=False):
            # The kernel covers a unit, so a convolution over the units of a batch gives one token.
            x_MD1RS = x_BNRSD.flatten(0, 1).permute(0, 3, 1, 2)[:, :, None]
            fused_BND = fused_BND + head(x_MD1RS).flatten(1).unflatten(0, x_BNRSD.shape[:2])
        return fused_BND

    def _place_units(self, x_BND: Tensor, masks: UnitMasks) -> Tensor:
        """Put the visible units at their places among mask tokens, (B, U, D)."""
        num_windows, num_units = masks.is_real_BU.shape
        # Under autocast, the visible units are in half precision and the parameter is not.
        mask_token_BUD = self.mask_token.to(x_BND.dtype).expand(num_windows, num_units, -1)
        window_BN = torch.arange(num_windows, device=x_BND.device)[:, None].expand_as(
            masks.visible_BN
        )
        is_visible_BN = masks.is_visible_BN
        # Padding has index 0 and would overwrite the first unit.
        places = (window_BN[is_visible_BN], masks.visible_BN[is_visible_BN])
        return mask_token_BUD.index_put(places, x_BND[is_visible_BN])

    def _initialize(self) -> None:
        """Draw the weights outside of the encoder, as published."""
        for parameter in (self.mask_token, self.decoder_pos_embed):
            nn.init.trunc_normal_(parameter, std=POSITION_STD)
        for module in (self.decoder_embed, self.decoder_pred, *self.decoder_blocks.modules()):
            initialize_linear(module)


def load_decoder(decoder: MaskedDecoder, path: Path) -> None:
    """Load the weights of a decoder; all of them must be present.

    Args:
        decoder: Decoder that receives the weights.
        path: `objective.safetensors` of a run, or a checkpoint with encoder and decoder.

    Raises:
        CheckpointError: If the file cannot be read or does not fit.
    """
    load_checkpoint(decoder, path, _LAYOUT)


def _build_fusion_heads(geometry: HieraGeometry) -> nn.ModuleList:
    """Build the convolutions that bring the output of each stage to one token per mask unit."""
    heads = nn.ModuleList()
    for stage in range(len(geometry.stage_depths) - 1):
        # Each stage halves the side of a unit in tokens.
        kernel = (1, *[geometry.mask_unit_size // 2**stage] * 2)
        width = geometry.first_stage_width * 2**stage
        heads.append(nn.Conv3d(width, geometry.output_width, kernel, kernel))
    return heads
