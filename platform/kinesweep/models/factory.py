"""The factory of translators: checks all names, draws or loads the weights, freezes parts.

Seed first (`core.seeds.seed_everything`): projectors, adapters and separators are drawn here.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.core.vocabulary import TokenVocabulary, Vocabulary
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.base_model import build_base_model_entry
from kinesweep.models.config import build_kinesweep_config
from kinesweep.models.encoders.token_streams import check_token_encoders
from kinesweep.models.fusion import TimeFusion
from kinesweep.models.streams import check_skeletons, check_stream_config
from kinesweep.models.translator import Translator
from kinesweep.models.vision.vision_loading import (
    check_vision_config,
    create_vision_network,
    describe_vision_network,
)

# Separators are initialized like the backbone's tokens. At most this many embeddings, spread evenly
# over the vocabulary, are used to estimate the mean and the standard deviation.
_MAX_SAMPLED_TOKENS = 4096


def build_translator(  # noqa: PLR0913 (each kind of stream has facts of its own)
    config: ModelConfig,
    widths: dict[str, int],
    vocabulary: Vocabulary,
    label_smoothing: float = 0.0,
    statistics: Mapping[str, tuple[Any, Any]] | None = None,
    device: torch.device | None = None,
    *,
    skeletons: Mapping[str, Skeleton] | None = None,
    frame_sizes: Mapping[str, int] | None = None,
    vocabularies: Mapping[str, TokenVocabulary] | None = None,
) -> Translator:
    """Build a new translator; seed first (`core.seeds.seed_everything`).

    Args:
        config: The recipe's `model` section.
        widths: Stream → width D, in the order of the store.
        vocabulary: Vocabulary of the tokenizer.
        label_smoothing: `training.label_smoothing_factor`.
        statistics: Stream → mean (D,) and standard deviation (D,) of the training split; None: 0
            and 1.
        device: Device the model will run on. The caller moves the model there; only a
            quantized model is created on it.
        skeletons: Stream → skeleton, for the streams read by graph encoders
            (`models.streams.find_skeletons`).
        frame_sizes: Stream → height and width in pixels, for the streams of decoded frames.
        vocabularies: Stream → vocabulary, for the streams of token ids.

    Raises:
        ConfigError: If a key of the backbone or the vision model is wrong, a named stream does not
            exist, frames have no vision model, a graph encoder has no skeleton, or reserving text
            tokens has no effect.
        InputError: If the pretrained backbone or vision model cannot be used.
        CheckpointError: If the weights of a frozen base model cannot be read to hash them, or those
            of the vision model do not fit.
        ResourceError: If quantized weights are requested where they are not available.
    """
    # Loading a pretrained backbone is slow, so misspelled names are reported first.
    frame_sizes = frame_sizes or {}
    check_stream_config(config, widths, frame_sizes)
    check_token_encoders(config, widths, vocabularies or {})
    skeletons = check_skeletons(config, widths, skeletons or {})
    backbone_ops = get_backbone_ops(config.backbone)
    # Pretrained vocabularies are often padded to a round number; a new tokenizer's is exact.
    exact_size = config.tokenizer.kind != "pretrained"
    backbone = backbone_ops.create_model(config.backbone, vocabulary, exact_size, device)
    base = (
        build_base_model_entry(
            config.backbone, backbone_ops.get_pretrained_vocab_size(config.backbone)
        )
        if config.has_frozen_base
        else None
    )
    vision, vision_entry = _create_vision(config, frame_sizes)
    saved_config = build_kinesweep_config(
        config,
        widths,
        vocabulary,
        label_smoothing,
        backbone,
        base,
        skeletons=skeletons,
        vision=vision_entry,
        vocabularies=vocabularies,
    )
    translator = Translator(saved_config, backbone, vision)
    _init_separators(translator, vocabulary)
    # The limit is known only now that the backbone exists.
    translator.position_limit.check_reserve(config.reserved_text_tokens)
    _set_statistics(translator, statistics or {})
    return translator


def _create_vision(
    config: ModelConfig, frame_sizes: Mapping[str, int]
) -> tuple[nn.Module | None, dict[str, Any] | None]:
    """Create the vision network and its description; a pair of None without a vision model."""
    if config.vision is None:
        return None, None
    network = create_vision_network(config.vision, next(iter(frame_sizes.values())))
    description = describe_vision_network(network, config.vision)
    return network, {**description, "streams": list(frame_sizes)}


def check_backbone_config(config: ModelConfig) -> None:
    """Check keys and sizes of backbone and vision model from scratch, without allocating memory.

    It takes milliseconds. Pretrained models are not checked.

    Args:
        config: The recipe's `model` section.

    Raises:
        ConfigError: If there are problems; each is given with its dotted path.
    """
    get_backbone_ops(config.backbone).check_config(config.backbone)
    if config.vision is not None:
        check_vision_config(config.vision)


def _set_statistics(translator: Translator, statistics: Mapping[str, tuple[Any, Any]]) -> None:
    """Set the statistics of each stream in its encoder.

    Args:
        translator: Translator whose encoders standardize their input.
        statistics: Stream → mean (D,) and standard deviation (D,) of the training split.
    """
    for name, (mean_D, deviation_D) in statistics.items():
        if name in translator.encoders:  # reference motions share the encoder of another stream
            encoder: Any = translator.encoders[name]
            encoder.set_statistics(torch.as_tensor(mean_D), torch.as_tensor(deviation_D))


@torch.no_grad()
def _init_separators(translator: Translator, vocabulary: Vocabulary) -> None:
    """Initialize the separators, if there are any, at the scale of the token embeddings."""
    fusion = translator.fusion
    if not isinstance(fusion, TimeFusion) or not fusion.separators:
        return
    # Embed as the backbone does: some models scale their token embeddings.
    backbone_ops = get_backbone_ops(translator.config.get_model_config().backbone)
    # Rounded up, so that there are at most `_MAX_SAMPLED_TOKENS` samples.
    step = -(-vocabulary.size // _MAX_SAMPLED_TOKENS)
    sampled_ids_W = torch.arange(0, vocabulary.size, step, device=translator.device)
    fusion.init_from_embeddings(
        backbone_ops.embed_tokens(translator.backbone, sampled_ids_W[None])[0]
    )
