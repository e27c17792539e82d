"""SignHiera over the visible mask units of windows: hidden units cost nothing after the embedding.

A mask unit is one time step of 8 x 8 tokens (2 frames of 32 x 32 pixels), which pooling turns into
one token. The layers of SignHiera take (windows, time steps, rows, columns, width); here, visible
units take the place of time steps, and the rows and columns are those within a unit. Local
attention stays within a unit as it does in whole windows. The kernels of the patch embedding reach
over the borders of units, so the pixels of hidden units are set to zero before (as published): a
visible unit must not see its neighbors.

Shapes: B windows, C colors, F frames, H = W pixels, T time steps, U mask units of a window, N
visible units, R = S rows and columns of a unit in tokens, D width, L layers.
"""

from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kinesweep.features.encoders.signhiera import FRAMES_PER_TIME_STEP, SignHiera
from kinesweep.models.pretraining.unit_masks import UnitMasks


def encode_visible_units(
    model: SignHiera,
    pixels_BCFHW: Tensor,
    masks: UnitMasks,
    factors_BL2: Tensor | None = None,
    gradient_checkpointing: bool = False,
) -> list[Tensor]:
    """Encode the visible mask units of windows; units do not attend to hidden ones or padding.

    Args:
        model: The encoder.
        pixels_BCFHW: Normalized pixels, float; F is even and covers all units of the masks.
        masks: Visible mask units.
        factors_BL2: Factors of stochastic depth; None: no branch is dropped.
        gradient_checkpointing: Recompute each layer in the backward pass.

    Returns:
        Output of each stage, (B, N, R, S, D); R = S is 1 after the last pooling.
    """
    x_BNRSD = _embed_units(model, pixels_BCFHW, masks)
    is_padded = not bool(masks.is_visible_BN.all())
    # A batch with equally many visible units needs no mask.
    real_BN = masks.is_visible_BN if is_padded else None
    outputs, layer_index = [], 0
    for depth in model.geometry.stage_depths:
        for layer in model.blocks[layer_index : layer_index + depth]:
            factors_B2 = None if factors_BL2 is None else factors_BL2[:, layer_index]
            x_BNRSD = run_layer(layer, gradient_checkpointing, x_BNRSD, real_BN, factors_B2)
            layer_index += 1
        outputs.append(x_BNRSD)
    return outputs


def run_layer(layer: Any, gradient_checkpointing: bool, *inputs: Tensor | None) -> Tensor:
    """Apply a layer, whose activations are recomputed in the backward pass if requested."""
    if gradient_checkpointing:
        # PyTorch recommends this form; the reentrant one needs an input that has a gradient.
        return checkpoint(layer, *inputs, use_reentrant=False)
    return layer(*inputs)


def _embed_units(model: SignHiera, pixels_BCFHW: Tensor, masks: UnitMasks) -> Tensor:
    """Embed the patches of the visible mask units, (B, N, R, S, D)."""
    geometry = model.geometry
    side, unit = geometry.units_per_side, geometry.mask_unit_size
    shown_BTHW = masks.is_shown.unflatten(1, (-1, side, side))
    for axis, length in ((1, FRAMES_PER_TIME_STEP), *((a, geometry.unit_pixels) for a in (2, 3))):
        shown_BTHW = shown_BTHW.repeat_interleave(length, dim=axis)
    # The whole window is embedded, as convolutions cannot skip units; layers see visible ones only.
    x_BTHWD = model.embed_patches(pixels_BCFHW * shown_BTHW[:, None])
    x_BTHWRSD = x_BTHWD.unflatten(3, (side, unit)).unflatten(2, (side, unit)).transpose(3, 4)
    x_BURSD = x_BTHWRSD.flatten(1, 3)
    index_BN111 = masks.visible_BN[:, :, None, None, None]
    return x_BURSD.gather(1, index_BN111.expand(-1, -1, *x_BURSD.shape[2:]))
