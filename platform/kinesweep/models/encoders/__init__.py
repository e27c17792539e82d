"""Encoders: modules that map the features of one stream to vectors of the backbone's width.

An encoder is called as `(x_BTD, mask_BT) -> (x_BTE, mask_BT)`. It may change the number of frames
and returns the mask that belongs to its output. Real frames never depend on padding.
`set_statistics(mean_D, deviation_D)` sets the statistics of the training split, which are saved
with the weights. An encoder of tokens takes their ids. Graph encoders also take the skeleton of
their stream. Encoders are chosen by `kind` from the table below, otherwise from the entry points of
other packages.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from kinesweep.config.parts import EncoderPart
from kinesweep.config.recipe.model.encoders import EncoderConfig, reads_skeleton
from kinesweep.core.errors import ConfigError
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.models.encoders.adapter import AdapterEncoder
from kinesweep.models.encoders.cnn import CnnEncoder
from kinesweep.models.encoders.encoder_part import build_encoder_part
from kinesweep.models.encoders.linear import LinearEncoder
from kinesweep.models.encoders.mlp import MlpEncoder
from kinesweep.models.encoders.part_graph import PartGraphEncoder
from kinesweep.models.encoders.stagcn import StagcnEncoder
from kinesweep.models.encoders.stgcn import StgcnEncoder
from kinesweep.models.encoders.tokens import TokensEncoder
from kinesweep.models.streams import find_skeleton_problem

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "linear": LinearEncoder,
    "mlp": MlpEncoder,
    "adapter": AdapterEncoder,
    "cnn": CnnEncoder,
    "stgcn": StgcnEncoder,
    "stagcn": StagcnEncoder,
    "part_graph": PartGraphEncoder,
    "tokens": TokensEncoder,
}


def build_encoder(
    config: EncoderConfig, width: int, out: int, skeleton: Skeleton | None = None
) -> nn.Module:
    """Build the encoder of one stream.

    Args:
        config: The recipe's section for this encoder.
        width: Values per frame, D; for token ids, the number of tokens of the vocabulary.
        out: Width of the output vectors, E.
        skeleton: Skeleton of the stream's points; required by graph encoders.

    Raises:
        ConfigError: If a graph encoder has no skeleton, or one that does not fit the width.
        InputError: If an encoder of another package cannot be imported or built.
    """
    build: Callable[..., nn.Module]
    if isinstance(config, EncoderPart):
        build = partial(build_encoder_part, config)
    else:
        build = partial(ENCODERS[config.kind], config)
    if not reads_skeleton(config):
        return build(width, out)
    problem = find_skeleton_problem(config.kind, "the stream", width, skeleton)
    if problem:
        raise ConfigError("the model", [("model.encoder.kind", problem)])
    return build(width, out, skeleton)
