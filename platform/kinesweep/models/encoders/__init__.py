"""Encoders: features of one stream in, vectors of the backbone's width out.

An encoder is a module called as `(x_BTD, mask_BT) -> (x_BTE, mask_BT)`: it may change the number of
frames, and then gives back the mask that belongs to what it returns. Real frames never see padded
ones. `set_statistics(mean_D, deviation_D)` hands it those of the training split, which it keeps
with its weights. Graph encoders know the stream's skeleton besides. Encoders are chosen by `kind`
from the table below.
"""

from collections.abc import Callable

from torch import nn

from kinesweep.core.errors import ConfigError
from kinesweep.core.recipe.graph import GraphEncoderConfig
from kinesweep.core.recipe.model import EncoderConfig
from kinesweep.core.skeleton import Skeleton
from kinesweep.models.encoders.adapter import AdapterEncoder
from kinesweep.models.encoders.cnn import CnnEncoder
from kinesweep.models.encoders.linear import LinearEncoder
from kinesweep.models.encoders.mlp import MlpEncoder
from kinesweep.models.encoders.stagcn import StagcnEncoder
from kinesweep.models.encoders.stgcn import StgcnEncoder
from kinesweep.models.streams import skeleton_problem

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "linear": LinearEncoder,
    "mlp": MlpEncoder,
    "adapter": AdapterEncoder,
    "cnn": CnnEncoder,
    "stgcn": StgcnEncoder,
    "stagcn": StagcnEncoder,
}


def build_encoder(
    config: EncoderConfig, width: int, out: int, skeleton: Skeleton | None = None
) -> nn.Module:
    """The encoder of one stream.

    Args:
        config: its recipe part.
        width: values a frame, D.
        out: values a vector that leaves, E.
        skeleton: of the stream's points; graph encoders need it.

    Raises:
        ConfigError: a graph encoder without a skeleton, or with one that the width does not fit.
    """
    if not isinstance(config, GraphEncoderConfig):
        return ENCODERS[config.kind](config, width, out)
    problem = skeleton_problem(config.kind, "the stream", width, skeleton)
    if problem:
        raise ConfigError("the model", [("model.encoder.kind", problem)])
    return ENCODERS[config.kind](config, width, out, skeleton)
