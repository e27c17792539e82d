"""Backbones from scratch: builds and checks a Hugging Face configuration from the recipe's keys.

Hugging Face accepts unknown keys silently, so a sweep over a misspelled key would vary nothing.
Here all problems are reported at once. Vocabulary and special tokens come from the tokenizer only.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from kinesweep.config.loading import did_you_mean
from kinesweep.core.errors import ConfigError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.architectures import Family

_PATH = "model.backbone.scratch"
# Configuration keys that are set by the tokenizer or by how the model is called.
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


def scratch_config(
    family: Family, scratch: Mapping[str, Any], vocabulary: Vocabulary
) -> PreTrainedConfig:
    """Return the configuration of a backbone from scratch.

    Args:
        family: Family the architecture must belong to.
        scratch: The recipe's `model.backbone.scratch` section.
        vocabulary: Vocabulary of the tokenizer.

    Raises:
        ConfigError: If the architecture or a key is unknown, or the architecture rejects a value.
    """
    problems = _unknown(family, scratch)
    if problems:
        raise ConfigError("the model", problems)
    architecture, keys = _split(scratch)
    special = family.special_ids(CONFIG_MAPPING[architecture], vocabulary)
    try:
        return AutoConfig.for_model(architecture, vocab_size=vocabulary.size, **special, **keys)
    except Exception as error:  # each architecture validates its values in its own way
        raise ConfigError("the model", [(_PATH, _first_words(error))]) from None


def check_scratch(family: Family, scratch: Mapping[str, Any]) -> None:
    """Build the backbone without allocating memory, to find wrong sizes before a run starts.

    Args:
        family: Family the architecture must belong to.
        scratch: The recipe's `model.backbone.scratch` section.

    Raises:
        ConfigError: If there are problems; all that can be found are listed.
    """
    # The vocabulary is not known yet, and its size does not matter for this check.
    config = scratch_config(family, scratch, Vocabulary(size=32, pad_id=0, bos_id=1, eos_id=2))
    reason = family.unsupported_reason(config)
    if reason:
        raise ConfigError("the model", [(f"{_PATH}.architecture", reason)])
    try:
        with torch.device("meta"):
            family.auto.from_config(config)
    except Exception as error:  # as in `scratch_config`
        raise ConfigError("the model", [(_PATH, _first_words(error))]) from None


def _split(scratch: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Split the section into the architecture and the keys of its configuration."""
    keys = {key: value for key, value in scratch.items() if key != "architecture"}
    return str(scratch["architecture"]), keys


def _unknown(family: Family, scratch: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a problem for each key that the architecture does not have."""
    architecture, keys = _split(scratch)
    if architecture not in family.architectures:
        hint = did_you_mean(architecture, family.architectures) or f"; use {family.examples}"
        text = f"`{architecture}` is not a Hugging Face {family.noun}{hint}"
        return [(f"{_PATH}.architecture", text)]
    allowed = _allowed(architecture)
    return [
        (f"{_PATH}.{key}", _why(architecture, key, allowed)) for key in keys if key not in allowed
    ]


def _allowed(architecture: str) -> list[str]:
    """Return the names of an architecture's own keys that a recipe may set."""
    # A key that every configuration has says nothing about the architecture; tied embeddings do.
    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own = [field.name for field in dataclasses.fields(CONFIG_MAPPING[architecture])]
    keys = [key for key in own if key not in common and key not in _OURS]
    return list(dict.fromkeys([*keys, "tie_word_embeddings"]))


def _why(architecture: str, key: str, allowed: list[str]) -> str:
    """Return why a key cannot be set."""
    if key in _OURS:
        return "is set by the tokenizer or by how the model is called; remove it"
    # Many architectures accept aliases, such as `hidden_size` for `n_embd`.
    own_name = CONFIG_MAPPING[architecture].attribute_map.get(key)
    if own_name in allowed:
        return f"unknown; `{architecture}` calls it `{own_name}`"
    return f"unknown to `{architecture}`{did_you_mean(key, allowed)}"


def _first_words(error: Exception) -> str:
    """Return an architecture's error message on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be built: {text[:300]}"
