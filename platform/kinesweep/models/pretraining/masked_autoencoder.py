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
from kinesweep.models.pretraining.encoded_windows import EncodedWindows, encode_windows
from kinesweep.models.pretraining.masked_decoder import MaskedDecoder
from kinesweep.models.pretraining.masked_encoder import encode_visible_units
from kinesweep.models.pretraining.objective import ClipSums, LossShare, PretrainingObjective
from kinesweep.models.pretraining.unit_masks import UnitMasks

_EPS = 1e-6
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
        self.encoder, self.config, self.model_config = encoder, config, model_config
        self.decoder = MaskedDecoder(encoder.geometry, config)

    def forward(self, batch: WindowBatch, num_windows: int) -> LossShare:
        """Compute the sum of the windows' losses, divided by the number of windows of the step.

        Args:
            batch: Training windows of this worker.
            num_windows: Number of windows of the whole step, of all workers.
        """
        # A share of the step, so that batches and workers add up to the mean over all windows.
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

    def compute_clip_sums(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, ClipSums]:
        """Compute the sum of the losses of each clip's windows, and their number."""
        return {self.metric: sum_masked_losses(values[self.metric], clip_ids)}

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
        encoded = encode_windows(
            self.encoder, batch, self.config.mask_ratio, self.model_config, self.training
        )
        return compute_masked_losses(self.decoder, encoded, self.config, self.model_config)


def compute_masked_losses(
    decoder: MaskedDecoder,
    encoded: EncodedWindows,
    config: MaskedAutoencodingConfig,
    model_config: PretrainedModelConfig,
) -> Tensor:
    """Compute the loss of each window: the mean error of its hidden units, float32 (B,).

    Args:
        decoder: Decoder of the units.
        encoded: Windows after the encoder; each has a hidden unit.
        config: Section of the objective `mae`.
        model_config: The recipe's `model` section, for gradient checkpointing.
    """
    recompute = model_config.gradient_checkpointing and torch.is_grad_enabled()
    predicted_BUP = decoder(encoded.stages, encoded.masks, recompute).float()
    # All pixels of a unit are predicted, so their number gives its side.
    unit_pixels = round((predicted_BUP.shape[2] / _NUM_COLORS) ** 0.5)
    targets_BUP = compute_targets(encoded.pixels_BCFHW, unit_pixels, config.normalize_targets)
    error_BU = (predicted_BUP - targets_BUP).square().mean(dim=2)
    hidden_BU = encoded.masks.is_hidden_BU.to(error_BU.dtype)
    # Visible units are not scored: copying them would be rewarded.
    return (error_BU * hidden_BU).sum(dim=1) / hidden_BU.sum(dim=1)


def sum_masked_losses(losses_W: Tensor, clip_ids: Sequence[str]) -> ClipSums:
    """Sum the losses of each clip's windows, and count them.

    Args:
        losses_W: Loss of each window.
        clip_ids: Clip of each window.
    """
    by_clip: dict[str, list[float]] = {}
    for clip_id, loss in zip(clip_ids, losses_W.tolist(), strict=True):
        by_clip.setdefault(clip_id, []).append(loss)
    return {clip_id: (fsum(each), float(len(each))) for clip_id, each in by_clip.items()}


def compute_targets(pixels_BCFHW: Tensor, unit_pixels: int, normalize: bool) -> Tensor:
    """Compute what is predicted for each mask unit: the first of its frames, (B, U, P).

    Args:
        pixels_BCFHW: Normalized pixels.
        unit_pixels: Side of a mask unit in pixels.
        normalize: Whether the values of each unit are brought to mean 0 and variance 1.
    """
    # The second frame of a time step is nearly equal, so it is not predicted (as published).
    x_BCTHW = pixels_BCFHW[:, :, ::FRAMES_PER_TIME_STEP]
    x_BCTHRWS = x_BCTHW.unflatten(4, (-1, unit_pixels)).unflatten(3, (-1, unit_pixels))
    # The colors vary fastest, as in the published decoder of videos.
    x_BUP = x_BCTHRWS.permute(0, 2, 3, 5, 4, 6, 1).flatten(4).flatten(1, 3)
    if not normalize:
        return x_BUP
    mean_BU1, variance_BU1 = x_BUP.mean(dim=2, keepdim=True), x_BUP.var(dim=2, keepdim=True)
    return (x_BUP - mean_BU1) / (variance_BU1 + _EPS) ** 0.5
