"""Attention as a language model computes it, made visible.

Fast kernels never hold the weights; Hugging Face's `eager` code does, so a model is switched over
while somebody looks and back afterwards. Every layer's weights over all places are held at once:
A · H · M² · 4 bytes, 170 MB for T5-base at 500 vectors (its encoder's are among them); one clip at
a time, never in training.

Shapes: B clips, A layers, H heads, L labels, M places that are looked at.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kinesweep.core.errors import InputError


@contextmanager
def eager(model: PreTrainedModel) -> Iterator[None]:
    """Lets a model compute attention in the open."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def stacked(model: PreTrainedModel, layers: Sequence[Tensor | None] | None, places: int) -> Tensor:
    """Layers side by side, float32 (B, A, H, L, M).

    Args:
        model: whose they are, for messages.
        layers: of each (B, H, L, M).
        places: M that is wanted.

    Raises:
        InputError: there are none, or they are not over as many places.
    """
    found = [layer for layer in layers or () if layer is not None]
    if not found or any(layer.shape[-1] != places for layer in found):
        got = sorted({tuple(layer.shape) for layer in found}) or "none"
        raise InputError(
            f"a `{model.config.model_type}` does not show what it attends to: weights over {places}"
            f" places are wanted of every layer, but it gives {got}"
        )
    return torch.stack([layer.float() for layer in found], dim=1)
