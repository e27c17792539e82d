"""Backbones from scratch: builds and checks a Hugging Face configuration from the recipe's keys.

Hugging Face accepts unknown keys silently, so a sweep over a misspelled key would vary nothing.
Here all problems are reported at once. Vocabulary and special tokens come from the tokenizer only.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import ConfigError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.architectures import BackboneFamily

_CONFIG_PATH = "model.backbone.scratch"
# Configuration keys that are set by the tokenizer or by how the model is called.
_RESERVED_KEYS = (
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


def build_scratch_config(
    family: BackboneFamily,
    scratch: Mapping[str, Any],
    vocabulary: Vocabulary,
    section: str = "model.backbone",
) -> PreTrainedConfig:
    """Build the Hugging Face configuration of a backbone that is trained from scratch.

    Args:
        family: Family the architecture must belong to.
        scratch: The recipe's `model.backbone.scratch` section.
        vocabulary: Vocabulary of the tokenizer.
        section: Section of the recipe to which `scratch` belongs, for errors.

    Raises:
        ConfigError: If the architecture or a key is unknown, or the architecture rejects a value.
    """
    path = f"{section}.scratch"
    problems = _find_scratch_problems(family, scratch)
    if problems:
        raise ConfigError("the model", [(f"{path}.{key}", text) for key, text in problems])
    architecture, keys = _split_architecture(scratch)
    special = family.get_special_ids(CONFIG_MAPPING[architecture], vocabulary)
    try:
        return AutoConfig.for_model(architecture, vocab_size=vocabulary.size, **special, **keys)
    except Exception as error:  # each architecture validates its values in its own way
        raise ConfigError("the model", [(path, _format_build_error(error))]) from None


def check_scratch_config(family: BackboneFamily, scratch: Mapping[str, Any]) -> None:
    """Check a backbone's section `scratch` by building the model without allocating memory.

    Args:
        family: Family the architecture must belong to.
        scratch: The recipe's `model.backbone.scratch` section.

    Raises:
        ConfigError: If there are problems; all that can be found are listed.
    """
    # The vocabulary is not known yet, and its size does not matter for this check.
    config = build_scratch_config(
        family, scratch, Vocabulary(size=32, pad_id=0, bos_id=1, eos_id=2)
    )
    reason = family.get_unsupported_reason(config)
    if reason:
        raise ConfigError("the model", [(f"{_CONFIG_PATH}.architecture", reason)])
    try:
        # Weights on the meta device take no memory, so the check is cheap for large models, too.
        with torch.device("meta"):
            family.auto_class.from_config(config)
    except Exception as error:  # as in `build_scratch_config`
        raise ConfigError("the model", [(_CONFIG_PATH, _format_build_error(error))]) from None


def _split_architecture(scratch: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Split the section into the name of the architecture and the values of its configuration."""
    keys = {key: value for key, value in scratch.items() if key != "architecture"}
    return str(scratch["architecture"]), keys


def _find_scratch_problems(
    family: BackboneFamily, scratch: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Find out whether the architecture is unknown, and which keys a recipe cannot set for it.

    Returns:
        Pairs of a key and a problem; a single pair if the architecture itself is unknown.
    """
    architecture, keys = _split_architecture(scratch)
    if architecture not in family.architectures:
        hint = (
            suggest_closest_word(architecture, family.architectures) or f"; use {family.examples}"
        )
        text = f"`{architecture}` is not a Hugging Face {family.display_name}{hint}"
        return [("architecture", text)]
    allowed = list_allowed_keys(architecture)
    return [
        (key, _explain_rejected_key(architecture, key, allowed))
        for key in keys
        if key not in allowed
    ]


def list_allowed_keys(architecture: str) -> list[str]:
    """List the configuration keys of an architecture that a recipe may set."""
    # A key that every configuration has says nothing about the architecture; tied embeddings do.
    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own_keys = [field.name for field in dataclasses.fields(CONFIG_MAPPING[architecture])]
    keys = [key for key in own_keys if key not in common and key not in _RESERVED_KEYS]
    return list(dict.fromkeys([*keys, "tie_word_embeddings"]))


def _explain_rejected_key(architecture: str, key: str, allowed: list[str]) -> str:
    """Explain in a message why a recipe cannot set a key.

    Args:
        architecture: Hugging Face model type.
        key: Key that is not allowed.
        allowed: Keys that a recipe may set, for a suggestion.
    """
    if key in _RESERVED_KEYS:
        return "is set by the tokenizer or by how the model is called; remove it"
    # Many architectures accept aliases, such as `hidden_size` for `n_embd`.
    own_name = CONFIG_MAPPING[architecture].attribute_map.get(key)
    if own_name in allowed:
        return f"unknown; `{architecture}` calls it `{own_name}`"
    return f"unknown to `{architecture}`{suggest_closest_word(key, allowed)}"


def _format_build_error(error: Exception) -> str:
    """Format the error that an architecture raised, on one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be built: {text[:300]}"
