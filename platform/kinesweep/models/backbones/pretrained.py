"""Pretrained backbones: a folder (or hub id) of safetensors, taken as it is but for its vocabulary.

Weights come as float32 from safetensors only and no code of the folder runs. Rows are added to the
embeddings when the tokenizer has more tokens; they are drawn around the mean of the old ones from
torch's generator, so a seeded set-up gives the same rows.
"""

import logging
from pathlib import Path

import torch
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from kinesweep.core.errors import InputError
from kinesweep.core.silence import silent
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.scratch import special_ids

_LOG = logging.getLogger(__name__)
_KEY = "`model.backbone.pretrained`"


def load_pretrained(
    name: str, vocabulary: Vocabulary, exact_size: bool, dropout: float | None = None
) -> PreTrainedModel:
    """A saved backbone that speaks our vocabulary.

    Args:
        name: local folder or hub id.
        vocabulary: of the tokenizer; its special tokens replace the folder's.
        exact_size: cut rows that the vocabulary does not use, as for a tokenizer of its own;
            otherwise they stay, because pretrained ones are often padded to a round number.
        dropout: instead of the folder's; None: the folder's.

    Raises:
        InputError: no such model, not an encoder-decoder, no safetensors, weights that miss, or a
            dropout that the model does not have.
    """
    config = pretrained_config(name, dropout)
    for key, value in special_ids(config, vocabulary).items():
        setattr(config, key, value)
    backbone = _read_weights(name, config)
    rows = backbone.get_input_embeddings().num_embeddings
    if vocabulary.size > rows or (exact_size and vocabulary.size < rows):
        with silent():
            backbone.resize_token_embeddings(vocabulary.size)
    return backbone


def pretrained_config(name: str, dropout: float | None = None) -> PreTrainedConfig:
    """The folder's configuration, if it is one of an encoder-decoder, with another dropout.

    Raises:
        InputError: no such model, not an encoder-decoder, or one without dropout.
    """
    config = _read_config(name)
    if dropout is None:
        return config
    # T5 and its kin call theirs `dropout_rate`; all others `dropout`.
    keys = [key for key in ("dropout", "dropout_rate") if hasattr(config, key)]
    if not keys:
        raise InputError(
            f"`model.backbone.dropout` is {dropout}, but a `{config.model_type}` has no key"
            " `dropout` or `dropout_rate`. Leave it out."
        )
    setattr(config, keys[0], dropout)
    return config


def _read_config(name: str) -> PreTrainedConfig:
    """The folder's configuration, if it is one of an encoder-decoder."""
    folder = Path(name)
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local and not folder.is_dir():
        raise InputError(f"{_KEY} is `{name}`, but there is no such folder.")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise InputError(
            f"{_KEY} is `{name}`, but that folder has no `config.json`."
            " Give a folder written by `save_pretrained`."
        )
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError, HFValidationError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, which cannot be read as a model: {_line(error)}"
        ) from None
    if config.model_type not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        raise InputError(
            f"{_KEY} is `{name}`, a `{config.model_type}`. Backbone `seq2seq` takes"
            " encoder-decoders such as `m2m_100`, `mbart`, `bart` or `t5`."
        )
    return config


def _read_weights(name: str, config: PreTrainedConfig) -> PreTrainedModel:
    """The model, complete or not at all."""
    try:
        with silent():
            backbone, info = AutoModelForSeq2SeqLM.from_pretrained(
                name,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that we can name them
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, whose weights cannot be read: {_line(error)}."
            " They must be safetensors (`save_pretrained` writes them); pickles are not read."
        ) from None
    missing = sorted([*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])])
    if missing:
        raise InputError(
            f"{_KEY} is `{name}`, where {len(missing)} weights of a `{config.model_type}` are"
            f" missing or of another shape, among them `{missing[0]}`."
        )
    unexpected = sorted(info["unexpected_keys"])
    if unexpected:
        text = "%s: %d weights have no place in the model, among them %s"
        _LOG.warning(text, name, len(unexpected), unexpected[0])
    return backbone


def _line(error: Exception) -> str:
    """An error's text on one line, bounded."""
    return " ".join(str(error).split())[:300].rstrip(".")
