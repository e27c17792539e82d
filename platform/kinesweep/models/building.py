"""A new translator from a recipe's part: every name checked, weights drawn or read, parts frozen.

Seed first (`core.seeds.seed_everything`): projectors, adapters and separators are drawn here.
"""

from collections.abc import Mapping
from typing import Any

import torch

from kinesweep.core.recipe.model import ModelConfig
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.base import describe_base
from kinesweep.models.config import describe
from kinesweep.models.room import check_reserve
from kinesweep.models.streams import check_streams
from kinesweep.models.translator import Translator


def build_translator(
    config: ModelConfig,
    widths: dict[str, int],
    vocabulary: Vocabulary,
    label_smoothing: float = 0.0,
    statistics: Mapping[str, tuple[Any, Any]] | None = None,
) -> Translator:
    """A new model; seed first (`core.seeds.seed_everything`).

    Args:
        config: the recipe's part.
        widths: of each stream of the store, in its order.
        vocabulary: of the tokenizer.
        label_smoothing: `training.label_smoothing_factor`.
        statistics: stream → mean (D,) and deviation (D,) of the training split; None: 0 and 1.

    Raises:
        ConfigError: a key of the backbone is wrong, a stream is named that is not there, or tokens
            are reserved in vain.
        InputError: the pretrained backbone cannot be used.
    """
    check_streams(config, widths)
    kind = BACKBONES[config.backbone.kind]
    exact_size = config.tokenizer.kind != "pretrained"
    backbone = kind.create(config.backbone, vocabulary, exact_size)
    base = describe_base(config.backbone, kind.rows(config.backbone)) if config.keeps_base else None
    plain = describe(config, widths, vocabulary, label_smoothing, backbone, base)
    translator = Translator(plain, backbone)
    translator.begin_separators()
    shared = translator.total_limit is not None
    limit = translator.total_limit if shared else translator.input_limit
    check_reserve(config.reserve_tokens, limit, shared)
    for name, (mean_D, deviation_D) in (statistics or {}).items():
        encoder: Any = translator.encoders[name]
        encoder.set_statistics(torch.as_tensor(mean_D), torch.as_tensor(deviation_D))
    return translator


def check_model(config: ModelConfig) -> None:
    """Finds what is wrong with a backbone's keys and sizes, in milliseconds and without memory.

    Raises:
        ConfigError: with dotted paths.
    """
    BACKBONES[config.backbone.kind].check(config.backbone)
