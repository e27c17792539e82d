"""Text encoders of Hugging Face, from scratch or pretrained, as modules from tokens to states.

Encoders (BERT, XLM-R …) are used as they are; of an encoder-decoder (T5, M2M-100 …) only the
encoder is kept. Decoder-only models are rejected: their states see the text before them only.
Weights are read from safetensors, as float32, and none may be missing.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
)

from kinesweep.config.pretraining.text_tower import TextTowerConfig
from kinesweep.core.checkpoint_files import compute_pretrained_digest
from kinesweep.core.errors import CheckpointError, ConfigError, InputError, format_one_line
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.core.paths import is_local_path
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.architectures import BackboneFamily, get_seq2seq_special_ids
from kinesweep.models.backbones.scratch import build_scratch_config

_KEY = "objective.text"
# `llama4`, `emu3` and others are listed as text encoders of generators, but see only one side.
_ARCHITECTURES = tuple(
    sorted(
        {
            *MODEL_FOR_MASKED_LM_MAPPING_NAMES,
            *MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
            *("t5", "mt5", "umt5", "t5gemma", "clip_text_model"),
        }
    )
)
# Configuration keys of dropout, whose names differ between architectures.
_DROPOUT_KEYS = (
    *("dropout", "dropout_rate", "hidden_dropout_prob", "attention_probs_dropout_prob"),
    *("attention_dropout", "activation_dropout", "hidden_dropout", "embedding_dropout"),
)


def _get_encoder_special_ids(config: Any, vocabulary: Vocabulary) -> dict[str, int]:
    """Return the special token ids of our vocabulary by configuration key."""
    special_ids = get_seq2seq_special_ids(config, vocabulary)
    # Configurations of encoders reject nothing, but would store the key in the saved file.
    if not getattr(config, "is_encoder_decoder", False):
        del special_ids["decoder_start_token_id"]
    return special_ids


def _accept_any(_: Any) -> str:
    """Return an empty string: every listed architecture is supported."""
    return ""


TEXT_ENCODER = BackboneFamily(
    kind="text_encoder",
    display_name="text encoder",
    examples="`bert`, `xlm-roberta` or `t5`",
    auto_class=AutoModel,
    architectures=_ARCHITECTURES,
    get_special_ids=_get_encoder_special_ids,
    get_unsupported_reason=_accept_any,
)


def create_text_encoder(config: TextTowerConfig, vocabulary: Vocabulary) -> nn.Module:
    """Create a text encoder with random or pretrained weights.

    Random weights are drawn from torch's generator, so seed it first.

    Args:
        config: Section `objective.text`.
        vocabulary: Vocabulary of the tokenizer.

    Raises:
        ConfigError: If a key of `scratch` is wrong or the encoder is too short for `max_tokens`.
        InputError: If the pretrained model does not exist or is no text encoder.
        CheckpointError: If its weights have changed since the run was created.
    """
    if config.scratch is not None:
        hf_config = build_scratch_config(TEXT_ENCODER, config.scratch, vocabulary, _KEY)
        model = _get_auto_class(hf_config).from_config(hf_config)
    else:
        hf_config = _read_config(config)
        model = _load_model(config, hf_config)
        # A larger table stays as it is: pretrained ones are often padded to a round number.
        if vocabulary.size > model.get_input_embeddings().num_embeddings:
            with silence_transformers():
                model.resize_token_embeddings(vocabulary.size)
    _check_positions(hf_config, config.max_tokens)
    # A pooling layer without use would be trained by nothing, which data-parallel training refuses.
    if config.pooling != "pooler" and getattr(model, "pooler", None) is not None:
        model.pooler = None
    if config.pooling == "pooler" and getattr(model, "pooler", None) is None:
        problem = f"`pooler` needs a pooling layer, but a `{hf_config.model_type}` has none"
        raise ConfigError("the objective", [(f"{_KEY}.pooling", f"{problem}; use `mean`")])
    # The decoder would be trained by nothing and saved with every checkpoint.
    encoder: nn.Module = model.get_encoder() if hf_config.is_encoder_decoder else model
    return encoder


def _get_auto_class(hf_config: PreTrainedConfig) -> Any:
    """Return the Auto class of an architecture: encoders without a decoder where there are any."""
    is_encoder = hf_config.model_type in MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES
    return AutoModelForTextEncoding if is_encoder else AutoModel


def _read_config(config: TextTowerConfig) -> PreTrainedConfig:
    """Read the configuration of the pretrained model and set its dropout.

    Raises:
        InputError: If it cannot be read, or belongs to no text encoder.
        CheckpointError: If the weights have changed since the run was created.
    """
    name = str(config.pretrained)
    # Without this check Hugging Face would look for the missing folder on the hub.
    if is_local_path(name) and not Path(name).is_dir():
        raise InputError(f"`{_KEY}.pretrained` is `{name}`, but there is no such folder.")
    digest = compute_pretrained_digest(name)
    if config.sha256 is not None and digest is not None and digest != config.sha256:
        raise CheckpointError(
            f"`{_KEY}.pretrained` is `{name}`, whose weights have changed since this run was"
            " created. Restore them, or start a new run in another folder."
        )
    try:
        hf_config = AutoConfig.from_pretrained(
            name, revision=config.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"`{_KEY}.pretrained` is `{name}`, which cannot be read as a model:"
            f" {format_one_line(error)}"
        ) from None
    if hf_config.model_type not in _ARCHITECTURES:
        raise InputError(
            f"`{_KEY}.pretrained` is `{name}`, a `{hf_config.model_type}`, which is no text"
            f" encoder. Give a model such as {TEXT_ENCODER.examples}."
        )
    if config.dropout is not None:
        for key in (key for key in _DROPOUT_KEYS if hasattr(hf_config, key)):
            setattr(hf_config, key, config.dropout)
    return hf_config


def _load_model(config: TextTowerConfig, hf_config: PreTrainedConfig) -> Any:
    """Load the pretrained model; all weights but those of an unused pooling layer must be there.

    Raises:
        InputError: If the weights cannot be read from safetensors, or some are missing.
    """
    name = config.pretrained
    try:
        with silence_transformers():
            model, info = _get_auto_class(hf_config).from_pretrained(
                name,
                config=hf_config,
                revision=config.revision or "main",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with names
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"`{_KEY}.pretrained` is `{name}`, whose weights cannot be read:"
            f" {format_one_line(error)}. They must be safetensors; pickle files are not read."
        ) from None
    lacking = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    # Checkpoints of masked language models have no pooling layer, which most poolings do not need.
    missing = sorted(
        key for key in lacking if config.pooling == "pooler" or not key.startswith("pooler.")
    )
    if missing:
        raise InputError(
            f"`{_KEY}.pretrained` is `{name}`, in which {len(missing)} weights of a"
            f" `{hf_config.model_type}` are missing or have another shape, for example"
            f" `{missing[0]}`."
        )
    return model


def _check_positions(hf_config: PreTrainedConfig, max_tokens: int) -> None:
    """Check that an encoder with a table of positions has one for every token of a text.

    Raises:
        ConfigError: If `max_tokens` exceeds the table.
    """
    num_positions = getattr(hf_config, "max_position_embeddings", None)
    # RoBERTa's positions begin after the id of the padding token.
    if num_positions is not None and "roberta" in hf_config.model_type:
        num_positions -= int(hf_config.pad_token_id or 0) + 1
    if num_positions is not None and max_tokens > num_positions:
        problem = (
            f"is {max_tokens}, but the text encoder has positions for {num_positions} tokens; set"
            " it lower"
        )
        raise ConfigError("the objective", [(f"{_KEY}.max_tokens", problem)])
