"""Initial weights of models that are pretrained from scratch, as published for Hiera."""

from typing import Any

from torch import nn

from kinesweep.features.encoders.signhiera import SignHiera

POSITION_STD = 0.02
"""Standard deviation of position embeddings and mask tokens."""


def initialize_encoder(model: SignHiera) -> None:
    """Draw the weights of an encoder from scratch, as published for masked autoencoding."""
    for positions in (model.pos_embed_spatial, model.pos_embed_temporal):
        nn.init.trunc_normal_(positions, std=POSITION_STD)
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
