"""A batch of windows after the encoder: what the losses of all objectives are computed from.

Shapes: B windows, C colors, F frames, H = W pixels, N visible mask units, R = S rows and columns of
a unit in tokens, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kinesweep.config.pretraining.objectives import PretrainedModelConfig
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.features.encoders.signhiera import FRAMES_PER_TIME_STEP, SignHiera
from kinesweep.features.encoders.signhiera_network import normalize_pixels
from kinesweep.models.pretraining.masked_encoder import encode_visible_units
from kinesweep.models.pretraining.unit_masks import (
    UnitMasks,
    draw_branch_factors,
    draw_unit_masks,
)


@dataclass(frozen=True)
class EncodedWindows:
    """Windows of which the encoder has seen the visible mask units.

    Attributes:
        pixels_BCFHW: Normalized pixels of all units.
        masks: Visible, hidden and real mask units.
        stages: Output of each stage of the encoder, (B, N, R, S, D).
    """

    pixels_BCFHW: Tensor
    masks: UnitMasks
    stages: list[Tensor]

    @property
    def mean_BD(self) -> Tensor:  # noqa: N802 (a shape suffix)
        """Return the mean of the visible mask units of each window, (B, D)."""
        is_visible_BN1 = self.masks.is_visible_BN[:, :, None]
        x_BND = self.stages[-1][:, :, 0, 0].masked_fill(~is_visible_BN1, 0)
        return x_BND.sum(dim=1) / is_visible_BN1.sum(dim=1)


def encode_windows(
    encoder: SignHiera,
    batch: WindowBatch,
    mask_ratio: float,
    model_config: PretrainedModelConfig,
    training: bool,
) -> EncodedWindows:
    """Encode the visible mask units of windows; masks and dropped branches come from their seeds.

    Args:
        encoder: The encoder; the result is on its device.
        batch: Windows.
        mask_ratio: Share of the mask units to hide; 0 hides none.
        model_config: Stochastic depth, gradient checkpointing.
        training: Whether branches are dropped.
    """
    device = encoder.pos_embed_spatial.device
    steps_B = [-(-number // FRAMES_PER_TIME_STEP) for number in batch.num_real_frames_B]
    units_per_step = encoder.geometry.units_per_side**2
    masks = draw_unit_masks(batch.seeds_B, steps_B, units_per_step, mask_ratio).to(device)
    # Padding within a time step does not exist: a step with one real frame counts as a whole.
    factors_BL2 = None
    if training and model_config.drop_path:
        factors_BL2 = draw_branch_factors(
            batch.seeds_B, len(encoder.blocks), model_config.drop_path
        ).to(device)
    # Time steps after the end of all windows of the batch are not even embedded.
    num_frames = max(steps_B) * FRAMES_PER_TIME_STEP
    pixels_BCFHW = normalize_pixels(batch.pixels_BFHWC[:, :num_frames].to(device))
    recompute = model_config.gradient_checkpointing and torch.is_grad_enabled()
    stages = encode_visible_units(encoder, pixels_BCFHW, masks, factors_BL2, recompute)
    return EncodedWindows(pixels_BCFHW, masks, stages)
