"""A new translator from a recipe's part: every name checked, weights drawn or read, parts frozen.

Seed first (`core.seeds.seed_everything`): projectors, adapters and separators are drawn here.
"""

from collections.abc import Mapping
from typing import Any

import torch

from kinesweep.core.recipe.model import ModelConfig
from kinesweep.core.skeleton import Skeleton
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.base import describe_base
from kinesweep.models.config import describe
from kinesweep.models.fusion import TimeFusion
from kinesweep.models.streams import check_skeletons, check_streams
from kinesweep.models.translator import Translator

_MOST_TOKENS = 4096
"""Tokens whose mean and deviation separators begin with, spread evenly."""


def build_translator(
    config: ModelConfig,
    widths: dict[str, int],
    vocabulary: Vocabulary,
    label_smoothing: float = 0.0,
    statistics: Mapping[str, tuple[Any, Any]] | None = None,
    device: torch.device | None = None,
    skeletons: Mapping[str, Skeleton] | None = None,
) -> Translator:
    """A new model; seed first (`core.seeds.seed_everything`).

    Args:
        config: the recipe's part.
        widths: of each stream of the store, in its order.
        vocabulary: of the tokenizer.
        label_smoothing: `training.label_smoothing_factor`.
        statistics: stream → mean (D,) and deviation (D,) of the training split; None: 0 and 1.
        device: where it will work. It is still to be moved there, but for one in 4 bits.
        skeletons: of the streams that graph encoders read (`models.streams.skeletons_of`).

    Raises:
        ConfigError: a key of the backbone is wrong, a stream is named that is not there, a graph
            encoder has no skeleton, or tokens are reserved in vain.
        InputError: the pretrained backbone cannot be used.
        ResourceError: weights in 4 bits, where they cannot be.
    """
    check_streams(config, widths)
    skeletons = check_skeletons(config, widths, skeletons or {})
    kind = BACKBONES[config.backbone.kind]
    exact_size = config.tokenizer.kind != "pretrained"
    backbone = kind.create(config.backbone, vocabulary, exact_size, device)
    base = describe_base(config.backbone, kind.rows(config.backbone)) if config.keeps_base else None
    plain = describe(config, widths, vocabulary, label_smoothing, backbone, base, skeletons)
    translator = Translator(plain, backbone)
    _begin_separators(translator, vocabulary)
    translator.positions.check_reserve(config.reserve_tokens)
    for name, (mean_D, deviation_D) in (statistics or {}).items():
        if name in translator.encoders:  # a reference is read by those of its stream
            encoder: Any = translator.encoders[name]
            encoder.set_statistics(torch.as_tensor(mean_D), torch.as_tensor(deviation_D))
    return translator


def check_model(config: ModelConfig) -> None:
    """Finds what is wrong with a backbone's keys and sizes, in milliseconds and without memory.

    Raises:
        ConfigError: with dotted paths.
    """
    BACKBONES[config.backbone.kind].check(config.backbone)


@torch.no_grad()
def _begin_separators(translator: Translator, vocabulary: Vocabulary) -> None:
    """Draws the vectors before streams anew, as large as the backbone's tokens."""
    fusion = translator.fusion
    if not isinstance(fusion, TimeFusion) or not fusion.separators:
        return
    kind = BACKBONES[translator.config.recipe_part().backbone.kind]
    step = -(-vocabulary.size // _MOST_TOKENS)
    some_W = torch.arange(0, vocabulary.size, step, device=translator.device)
    fusion.begin_like(kind.embed(translator.backbone, some_W[None])[0])
