"""Frozen parameters of a translator: those that training does not change.

With adapters, only the adapters of the language model and of graph encoders are trained; the parts
listed in `model.freeze` are then frozen as well. Encoders, fusion and reference motion together are
one part, `encoder`; all other parts belong to the language model.
"""

from collections.abc import Iterable

from torch import nn
from transformers import PreTrainedModel

from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.lora import is_adapter_weight


def freeze_parameters(
    backbone: PreTrainedModel,
    encoders: Iterable[nn.Module],
    has_adapters: bool,
    frozen_parts: Iterable[nn.Module],
) -> None:
    """Freeze the weights under adapters and all weights of the given parts, in place.

    Args:
        backbone: Language model.
        encoders: Encoder of each stream; a graph encoder with adapters freezes its other weights.
        has_adapters: Whether the language model has adapters. Its adapters are then trained, and
            all its other weights are frozen.
        frozen_parts: Parts that are frozen completely, including their adapters.
    """
    if has_adapters:
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(is_adapter_weight(name))
    for encoder in encoders:
        if isinstance(encoder, GraphEncoder):
            encoder.freeze_base_weights()
    # Last, because it may freeze what the adapters leave trainable.
    for part in frozen_parts:
        part.requires_grad_(False)
