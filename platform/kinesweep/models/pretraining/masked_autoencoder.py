"""Masked autoencoding of SignHiera (Ryali et al. 2023, arXiv:2306.00989; 2402.09611).

The encoder sees one tenth of the mask units. The outputs of its stages are brought to one token per
unit by convolutions and added (multi-scale fusion). A decoder of plain transformer layers, in which
hidden units are a learned token, predicts the pixels of the first frame of each hidden unit. The
loss of a window is the mean over its hidden units; the loss of a step is the mean over its windows.
Weights have the names that the published checkpoints use for them.

Shapes: B windows, C colors, F frames, H = W pixels, T time steps, U mask units, N visible units, R
= S rows and columns of a unit in tokens, D width, P = 32 · 32 · 3 pixel values of a unit.
"""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

import torch
from torch import Tensor, nn

from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig, PretrainedModelConfig
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.features.encoders.signhiera import (
    FRAMES_PER_TIME_STEP,
    HieraGeometry,
    HieraLayer,
    SignHiera,
)
from kinesweep.models.pretraining.encoded_windows import EncodedWindows, encode_windows
from kinesweep.models.pretraining.masked_encoder import encode_visible_units, run_layer
from kinesweep.models.pretraining.objective import ClipSums, LossShare, PretrainingObjective
from kinesweep.models.pretraining.unit_masks import UnitMasks

_EPS = 1e-6
_POSITION_STD = 0.02
_NUM_COLORS = 3


class MaskedAutoencoder(PretrainingObjective):
    """The objective `mae`.

    Args:
        encoder: The video model, whose weights are kept.
        config: The recipe's `objective` section.
        model_config: The recipe's `model` section: stochastic depth, gradient checkpointing.
    """

    metric = "masked_loss"
    lower_is_better = True

    def __init__(
        self,
        encoder: SignHiera,
        config: MaskedAutoencodingConfig,
        model_config: PretrainedModelConfig,
    ) -> None:
        super().__init__()
        geometry, width = encoder.geometry, config.decoder_width
        self.encoder, self.config, self.model_config = encoder, config, model_config
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

    def forward(self, batch: WindowBatch, num_windows: int) -> LossShare:
        """Compute the sum of the windows' losses, divided by the number of windows of the step.

        Args:
            batch: Training windows of this worker.
            num_windows: Number of windows of the whole step, of all workers.
        """
        loss = self.compute_losses(self._encode(batch)).sum() / num_windows
        return LossShare(loss, {})

    @torch.no_grad()
    def compute_values(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Compute the loss of each window under its fixed mask: `masked_loss` → (B,)."""
        return {self.metric: self.compute_losses(self._encode(batch))}

    def compute_scores(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, float]:
        """Compute the mean loss over all validation windows."""
        losses = values[self.metric].tolist()
        # `fsum` rounds once, so the mean does not depend on the order of the additions.
        return {self.metric: fsum(losses) / len(losses)}

    def compute_clip_sums(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, ClipSums]:
        """Compute the sum of the losses of each clip's windows, and their number."""
        losses: dict[str, list[float]] = {}
        for clip_id, loss in zip(clip_ids, values["masked_loss"].tolist(), strict=True):
            losses.setdefault(clip_id, []).append(loss)
        sums = {clip_id: (fsum(each), float(len(each))) for clip_id, each in losses.items()}
        return {"masked_loss": sums}

    def predict_units(
        self, pixels_BCFHW: Tensor, masks: UnitMasks, factors_BL2: Tensor | None = None
    ) -> Tensor:
        """Predict the pixels of all mask units, (B, U, P).

        Args:
            pixels_BCFHW: Normalized pixels, of which only the visible units are read.
            masks: Visible and real mask units.
            factors_BL2: Factors of stochastic depth in the encoder; None: no branch is dropped.
        """
        recompute = self.model_config.gradient_checkpointing and torch.is_grad_enabled()
        stages = encode_visible_units(self.encoder, pixels_BCFHW, masks, factors_BL2, recompute)
        return self.decode_units(EncodedWindows(pixels_BCFHW, masks, stages))

    def decode_units(self, encoded: EncodedWindows) -> Tensor:
        """Predict the pixels of all mask units, (B, U, P).

        Args:
            encoded: Windows after the encoder, of which only the visible units are read.
        """
        masks = encoded.masks
        recompute = self.model_config.gradient_checkpointing and torch.is_grad_enabled()
        x_BND = self.encoder_norm(self._fuse_stages(encoded.stages))
        x_BUD = self._place_units(self.decoder_embed(x_BND), masks)
        # Layers take time steps, rows and columns; attention over the whole window ignores them.
        x_BU11D = (x_BUD + self.decoder_pos_embed[:, : x_BUD.shape[1]])[:, :, None, None]
        is_real_BU = None if bool(masks.is_real_BU.all()) else masks.is_real_BU
        for layer in self.decoder_blocks:
            x_BU11D = run_layer(layer, recompute, x_BU11D, is_real_BU)
        predicted_BUP: Tensor = self.decoder_pred(self.decoder_norm(x_BU11D[:, :, 0, 0]))
        return predicted_BUP

    def compute_losses(self, encoded: EncodedWindows) -> Tensor:
        """Compute the loss of each window, float32 (B,).

        Args:
            encoded: Windows after the encoder; each has a hidden unit.
        """
        predicted_BUP = self.decode_units(encoded).float()
        targets_BUP = compute_targets(
            encoded.pixels_BCFHW, self.encoder.geometry.unit_pixels, self.config.normalize_targets
        )
        error_BU = (predicted_BUP - targets_BUP).square().mean(dim=2)
        hidden_BU = encoded.masks.is_hidden_BU.to(error_BU.dtype)
        return (error_BU * hidden_BU).sum(dim=1) / hidden_BU.sum(dim=1)

    def _encode(self, batch: WindowBatch) -> EncodedWindows:
        """Encode the visible mask units of windows."""
        return encode_windows(
            self.encoder, batch, self.config.mask_ratio, self.model_config, self.training
        )

    def _fuse_stages(self, stages: Sequence[Tensor]) -> Tensor:
        """Add the outputs of all stages, each brought to one token per mask unit, (B, N, D)."""
        fused_BND = stages[-1][:, :, 0, 0]
        for head, x_BNRSD in zip(self.multi_scale_fusion_heads, stages[:-1], strict=False):
            # The kernel covers a unit, so a convolution over the units of a batch gives one token.
            x_MD1RS = x_BNRSD.flatten(0, 1).permute(0, 3, 1, 2)[:, :, None]
            fused_BND = fused_BND + head(x_MD1RS).flatten(1).unflatten(0, x_BNRSD.shape[:2])
        return fused_BND

    def _place_units(self, x_BND: Tensor, masks: UnitMasks) -> Tensor:
        """Put the visible units at their places among mask tokens, (B, U, D)."""
        num_windows, num_units = masks.is_real_BU.shape
        mask_token_BUD = self.mask_token.to(x_BND.dtype).expand(num_windows, num_units, -1)
        window_BN = torch.arange(num_windows, device=x_BND.device)[:, None].expand_as(
            masks.visible_BN
        )
        is_visible_BN = masks.is_visible_BN
        places = (window_BN[is_visible_BN], masks.visible_BN[is_visible_BN])
        return mask_token_BUD.index_put(places, x_BND[is_visible_BN])

    def _initialize(self) -> None:
        """Draw the weights outside of the encoder, as published."""
        for parameter in (self.mask_token, self.decoder_pos_embed):
            nn.init.trunc_normal_(parameter, std=_POSITION_STD)
        for module in (self.decoder_embed, self.decoder_pred, *self.decoder_blocks.modules()):
            initialize_linear(module)


def compute_targets(pixels_BCFHW: Tensor, unit_pixels: int, normalize: bool) -> Tensor:
    """Compute what is predicted for each mask unit: the first of its frames, (B, U, P).

    Args:
        pixels_BCFHW: Normalized pixels.
        unit_pixels: Side of a mask unit in pixels.
        normalize: Whether the values of each unit are brought to mean 0 and variance 1.
    """
    x_BCTHW = pixels_BCFHW[:, :, ::FRAMES_PER_TIME_STEP]
    x_BCTHRWS = x_BCTHW.unflatten(4, (-1, unit_pixels)).unflatten(3, (-1, unit_pixels))
    # The colors vary fastest, as in the published decoder of videos.
    x_BUP = x_BCTHRWS.permute(0, 2, 3, 5, 4, 6, 1).flatten(4).flatten(1, 3)
    if not normalize:
        return x_BUP
    mean_BU1, variance_BU1 = x_BUP.mean(dim=2, keepdim=True), x_BUP.var(dim=2, keepdim=True)
    return (x_BUP - mean_BU1) / (variance_BU1 + _EPS) ** 0.5


def initialize_encoder(model: SignHiera) -> None:
    """Draw the weights of an encoder from scratch, as published for masked autoencoding."""
    for positions in (model.pos_embed_spatial, model.pos_embed_temporal):
        nn.init.trunc_normal_(positions, std=_POSITION_STD)
    for module in model.modules():
        initialize_linear(module)
    projection: Any = model.patch_embed["proj"]
    # Like a linear layer over the pixels of a patch instead of a convolution.
    nn.init.xavier_uniform_(projection.weight.data.flatten(1))


def initialize_linear(module: nn.Module) -> None:
    """Draw the weights of a linear layer, with zero biases; leave any other module unchanged."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _build_fusion_heads(geometry: HieraGeometry) -> nn.ModuleList:
    """Build the convolutions that bring the output of each stage to one token per mask unit."""
    heads = nn.ModuleList()
    for stage in range(len(geometry.stage_depths) - 1):
        kernel = (1, *[geometry.mask_unit_size // 2**stage] * 2)
        width = geometry.first_stage_width * 2**stage
        heads.append(nn.Conv3d(width, geometry.output_width, kernel, kernel))
    return heads
