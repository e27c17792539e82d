"""Masked autoencoding of SignHiera (Ryali et al. 2023, arXiv:2306.00989; 2402.09611).

The encoder sees one tenth of the mask units. The outputs of its stages are brought to one token per
unit by convolutions and added (multi-scale fusion). A decoder of plain transformer layers, in which
hidden units are a learned token, predicts the pixels of the first frame of each hidden unit. The
loss of a window is the mean over its hidden units; the loss of a step is the mean over its windows.

Shapes: B windows, C colors, F frames, H = W pixels, T time steps, U mask units, N visible units, R
= S rows and columns of a unit in tokens, D width, P = 32 · 32 · 3 pixel values of a unit.
"""

from collections.abc import Mapping, Sequence
from math import fsum

import torch
from torch import Tensor

from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig, PretrainedModelConfig
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.features.encoders.signhiera import FRAMES_PER_TIME_STEP, SignHiera
from kinesweep.features.encoders.signhiera_network import normalize_pixels
from kinesweep.models.pretraining.masked_decoder import MaskedDecoder
from kinesweep.models.pretraining.masked_encoder import encode_visible_units
from kinesweep.models.pretraining.objective import LossShare, PretrainingObjective
from kinesweep.models.pretraining.unit_masks import (
    UnitMasks,
    draw_branch_factors,
    draw_unit_masks,
)

_EPS = 1e-6


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
        self.encoder, self.config, self.model_config = encoder, config, model_config
        self.decoder = MaskedDecoder(encoder.geometry, config)

    def forward(self, batch: WindowBatch, num_windows: int) -> LossShare:
        """Compute the sum of the windows' losses, divided by the number of windows of the step.

        Args:
            batch: Training windows of this worker.
            num_windows: Number of windows of the whole step, of all workers.
        """
        loss = self._compute_losses(batch).sum() / num_windows
        return LossShare(loss, {})

    @torch.no_grad()
    def compute_values(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Compute the loss of each window under its fixed mask: `masked_loss` → (B,)."""
        return {self.metric: self._compute_losses(batch)}

    def compute_scores(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, float]:
        """Compute the mean loss over all validation windows."""
        losses = values[self.metric].tolist()
        # `fsum` rounds once, so the mean does not depend on the order of the additions.
        return {self.metric: fsum(losses) / len(losses)}

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
        return self.decoder(stages, masks, recompute)

    def get_other_weights(self) -> dict[str, Tensor]:
        """Return the weights of the decoder by their published names."""
        return self.decoder.state_dict()

    def _compute_losses(self, batch: WindowBatch) -> Tensor:
        """Compute the loss of each window, float32 (B,)."""
        device = self.decoder.mask_token.device
        steps_B = [-(-number // FRAMES_PER_TIME_STEP) for number in batch.num_real_frames_B]
        units_per_step = self.encoder.geometry.units_per_side**2
        masks = draw_unit_masks(batch.seeds_B, steps_B, units_per_step, self.config.mask_ratio)
        masks = masks.to(device)
        factors_BL2 = None
        if self.training and self.model_config.drop_path:
            num_layers = len(self.encoder.blocks)
            factors_BL2 = draw_branch_factors(
                batch.seeds_B, num_layers, self.model_config.drop_path
            ).to(device)
        # Time steps after the end of all windows of the batch are not even embedded.
        num_frames = max(steps_B) * FRAMES_PER_TIME_STEP
        pixels_BCFHW = normalize_pixels(batch.pixels_BFHWC[:, :num_frames].to(device))
        predicted_BUP = self.predict_units(pixels_BCFHW, masks, factors_BL2).float()
        targets_BUP = compute_targets(
            pixels_BCFHW, self.encoder.geometry.unit_pixels, self.config.normalize_targets
        )
        error_BU = (predicted_BUP - targets_BUP).square().mean(dim=2)
        hidden_BU = masks.is_hidden_BU.to(error_BU.dtype)
        return (error_BU * hidden_BU).sum(dim=1) / hidden_BU.sum(dim=1)


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
