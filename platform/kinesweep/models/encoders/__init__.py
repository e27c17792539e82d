"""Encoders: features of one stream in, vectors of the backbone's width out.

An encoder is a module called as `(x_BTD, mask_BT) -> (x_BTE, mask_BT)`: it may change the number of
frames, and then gives back the mask that belongs to what it returns. Real frames never see padded
ones. `set_statistics(mean_D, deviation_D)` hands it those of the training split, which it keeps
with its weights. Encoders are chosen by `kind` from the table below.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from kinesweep.core.recipe.model import EncoderConfig
from kinesweep.models.encoders.adapter import AdapterEncoder
from kinesweep.models.encoders.cnn import CnnEncoder
from kinesweep.models.encoders.linear import LinearEncoder
from kinesweep.models.encoders.mlp import MlpEncoder

ENCODERS: dict[str, Callable[[Any, int, int], nn.Module]] = {
    "linear": LinearEncoder,
    "mlp": MlpEncoder,
    "adapter": AdapterEncoder,
    "cnn": CnnEncoder,
}


def build_encoder(config: EncoderConfig, width: int, out: int) -> nn.Module:
    """The encoder of one stream.

    Args:
        config: its recipe part.
        width: values a frame, D.
        out: values a vector that leaves, E.
    """
    return ENCODERS[config.kind](config, width, out)
