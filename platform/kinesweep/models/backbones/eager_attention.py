"""Eager attention: makes a language model return its attention weights.

Fused attention kernels never store the weights, but Hugging Face's `eager` implementation does, so
a model is switched to it temporarily. The weights of all layers over all positions are in memory at
once: A · H · M² · 4 bytes, 170 MB for T5-base at 500 vectors (including its encoder's). Use it for
one clip at a time, never in training.

Shapes: B clips, A layers, H heads, L labels, M attended positions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kinesweep.core.errors import InputError


@contextmanager
def use_eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Switch a model to eager attention while the context is active, then restore its setting."""
    # Hugging Face has no public getter for this setting.
    previous_implementation = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(previous_implementation)


def stack_attention_weights(
    model: PreTrainedModel, layers: Sequence[Tensor | None] | None, num_positions: int
) -> Tensor:
    """Stack the attention weights of the layers that returned any, float32 (B, A, H, L, M).

    Args:
        model: Model that returned the weights, for error messages.
        layers: Weights of each layer, (B, H, L, M); None for a layer that returned none, which is
            left out.
        num_positions: Expected number of positions M.

    Raises:
        InputError: If no layer returned weights, or one returned weights over another number of
            positions.
    """
    # Layers that return no attention weights give None.
    weights = [layer for layer in layers or () if layer is not None]
    if not weights or any(layer.shape[-1] != num_positions for layer in weights):
        shapes = sorted({tuple(layer.shape) for layer in weights}) or "none"
        raise InputError(
            f"a `{model.config.model_type}` does not return its attention: weights over"
            f" {num_positions}"
            f" positions are needed from every layer, but it returns {shapes}"
        )
    return torch.stack([layer.float() for layer in weights], dim=1)
