"""Backbones from scratch: a Hugging Face configuration made of the recipe's keys, checked first.

Hugging Face keeps an unknown key without a word, and a sweep over it would be a sweep over nothing;
here every problem is named at once. Vocabulary and special tokens come from the tokenizer alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForSeq2SeqLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from kinesweep.core.config import near_miss
from kinesweep.core.errors import ConfigError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.tarres import TarresConfig

_PATH = "model.backbone.scratch"
_OURS = (
    "vocab_size",
    "decoder_vocab_size",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "is_decoder",
    "is_encoder_decoder",
    "use_cache",
)
"""Keys of a configuration that the tokenizer, or the way we call the model, decides."""

_PAD_STARTS = ("t5", "longt5")
"""Model types whose configuration class does not say that their decoder starts with padding."""


def start_id(config: Any, vocabulary: Vocabulary) -> int:
    """The token that the decoder starts with, in our vocabulary.

    T5, Pegasus and Marian start with padding, Blenderbot with the beginning of a sentence, BART,
    M2M-100 and mBART with the end of one. The configuration says it by its own ids.

    Args:
        config: a Hugging Face configuration or its class, before our ids are put in.
        vocabulary: ours.
    """
    start = getattr(config, "decoder_start_token_id", None)
    if start is None and config.model_type in _PAD_STARTS:
        return vocabulary.pad_id
    if start is not None and start == getattr(config, "pad_token_id", None):
        return vocabulary.pad_id
    if start is not None and start == getattr(config, "bos_token_id", None):
        is_also_end = start == getattr(config, "eos_token_id", None)
        return vocabulary.eos_id if is_also_end else vocabulary.bos_id
    return vocabulary.eos_id


def special_ids(config: Any, vocabulary: Vocabulary) -> dict[str, int]:
    """What a configuration is told of our vocabulary's special tokens."""
    return {
        "pad_token_id": vocabulary.pad_id,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "decoder_start_token_id": start_id(config, vocabulary),
    }


def scratch_config(scratch: Mapping[str, Any], vocabulary: Vocabulary) -> PreTrainedConfig:
    """The configuration of a backbone from scratch.

    Raises:
        ConfigError: unknown architecture or keys, or values that the architecture refuses.
    """
    problems = _unknown(scratch)
    if problems:
        raise ConfigError("the model", problems)
    architecture, keys = _split(scratch)
    special = special_ids(CONFIG_MAPPING[architecture], vocabulary)
    try:
        return AutoConfig.for_model(architecture, vocab_size=vocabulary.size, **special, **keys)
    except Exception as error:  # each architecture checks its values in its own way
        raise ConfigError("the model", [(_PATH, _first_words(error))]) from None


def check_scratch(scratch: Mapping[str, Any]) -> None:
    """Builds the backbone without memory, so that wrong sizes show before anything starts.

    Raises:
        ConfigError: with every problem that can be found.
    """
    config = scratch_config(scratch, Vocabulary(size=32, pad_id=0, bos_id=1, eos_id=2))
    try:
        with torch.device("meta"):
            AutoModelForSeq2SeqLM.from_config(config)
    except Exception as error:  # as above
        raise ConfigError("the model", [(_PATH, _first_words(error))]) from None


def _split(scratch: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The architecture, and the keys of its configuration."""
    keys = {key: value for key, value in scratch.items() if key != "architecture"}
    return str(scratch["architecture"]), keys


def _unknown(scratch: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keys that the architecture does not have, each with its near miss."""
    architecture, keys = _split(scratch)
    known = [*MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, TarresConfig.model_type]
    if architecture not in known:
        hint = near_miss(architecture, known) or "; take `m2m_100`, `bart`, `mbart` or `t5`"
        text = f"`{architecture}` is no encoder-decoder of Hugging Face's{hint}"
        return [(f"{_PATH}.architecture", text)]
    allowed = _allowed(architecture)
    return [
        (f"{_PATH}.{key}", _why(architecture, key, allowed)) for key in keys if key not in allowed
    ]


def _allowed(architecture: str) -> list[str]:
    """Names of an architecture's own keys that a recipe may set."""
    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own = [field.name for field in dataclasses.fields(CONFIG_MAPPING[architecture])]
    keys = [key for key in own if key not in common and key not in _OURS]
    return list(dict.fromkeys([*keys, "tie_word_embeddings"]))


def _why(architecture: str, key: str, allowed: list[str]) -> str:
    """Why a key cannot be set."""
    if key in _OURS:
        return "is set by the tokenizer and by how the model is called; leave it out"
    own_name = CONFIG_MAPPING[architecture].attribute_map.get(key)
    if own_name in allowed:
        return f"unknown; `{architecture}` calls it `{own_name}`"
    return f"unknown to `{architecture}`{near_miss(key, allowed)}"


def _first_words(error: Exception) -> str:
    """An architecture's complaint on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be built: {text[:300]}"
