"""Building a new translator: checks all names, draws or loads the weights, freezes parts.

Seed first (`core.seeds.seed_everything`): projectors, adapters and separators are drawn here.
"""

from collections.abc import Mapping
from typing import Any

import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.base import describe_base
from kinesweep.models.config import describe
from kinesweep.models.fusion import TimeFusion
from kinesweep.models.streams import check_skeletons, check_streams
from kinesweep.models.translator import Translator

# Separators are initialized like the backbone's tokens. At most so many embeddings, spread evenly
# over the vocabulary, are used to estimate the mean and the standard deviation.
_MOST_TOKENS = 4096


def build_translator(
    config: ModelConfig,
    widths: dict[str, int],
    vocabulary: Vocabulary,
    label_smoothing: float = 0.0,
    statistics: Mapping[str, tuple[Any, Any]] | None = None,
    device: torch.device | None = None,
    skeletons: Mapping[str, Skeleton] | None = None,
) -> Translator:
    """Build a new model; seed first (`core.seeds.seed_everything`).

    Args:
        config: The recipe's `model` section.
        widths: Stream → width D, in the order of the store.
        vocabulary: Vocabulary of the tokenizer.
        label_smoothing: `training.label_smoothing_factor`.
        statistics: Stream → mean (D,) and standard deviation (D,) of the training split; None: 0
            and 1.
        device: Device the model will run on. The caller moves the model there; only a model in
            4 bits is created on it.
        skeletons: Stream → skeleton, for the streams read by graph encoders
            (`models.streams.skeletons_of`).

    Raises:
        ConfigError: If a key of the backbone is wrong, a named stream does not exist, a graph
            encoder has no skeleton, or reserving text tokens has no effect.
        InputError: If the pretrained backbone cannot be used.
        ResourceError: If 4-bit weights are requested where they are not available.
    """
    # Loading a pretrained backbone is slow, so misspelled names are reported first.
    check_streams(config, widths)
    skeletons = check_skeletons(config, widths, skeletons or {})
    kind = BACKBONES[config.backbone.kind]
    # Pretrained vocabularies are often padded to a round number; a new tokenizer's is exact.
    exact_size = config.tokenizer.kind != "pretrained"
    backbone = kind.create(config.backbone, vocabulary, exact_size, device)
    base = describe_base(config.backbone, kind.rows(config.backbone)) if config.keeps_base else None
    plain = describe(config, widths, vocabulary, label_smoothing, backbone, base, skeletons)
    translator = Translator(plain, backbone)
    _begin_separators(translator, vocabulary)
    # The limit is known only now that the backbone exists.
    translator.positions.check_reserve(config.reserved_text_tokens)
    for name, (mean_D, deviation_D) in (statistics or {}).items():
        if name in translator.encoders:  # a reference shares the encoder of its stream
            encoder: Any = translator.encoders[name]
            encoder.set_statistics(torch.as_tensor(mean_D), torch.as_tensor(deviation_D))
    return translator


def check_model(config: ModelConfig) -> None:
    """Check the backbone's keys and sizes in milliseconds, without allocating memory.

    Raises:
        ConfigError: If there are problems; each is given with its dotted path.
    """
    BACKBONES[config.backbone.kind].check(config.backbone)


@torch.no_grad()
def _begin_separators(translator: Translator, vocabulary: Vocabulary) -> None:
    """Redraw the separators at the scale of the backbone's token embeddings."""
    fusion = translator.fusion
    if not isinstance(fusion, TimeFusion) or not fusion.separators:
        return
    # Embed as the backbone does: some models scale their token embeddings.
    kind = BACKBONES[translator.config.recipe_part().backbone.kind]
    step = -(-vocabulary.size // _MOST_TOKENS)
    some_W = torch.arange(0, vocabulary.size, step, device=translator.device)
    fusion.init_from_embeddings(kind.embed(translator.backbone, some_W[None])[0])
