"""Pretrained backbones: a folder (or hub id) of safetensors, taken as it is but for its vocabulary.

Weights come as float32 from safetensors only and no code of the folder runs. Rows are added to the
embeddings when the tokenizer has more tokens; they are drawn around the mean of the old ones from
torch's generator, so a seeded set-up gives the same rows.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from kinesweep.core.errors import InputError
from kinesweep.core.silence import silent
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.family import Family

_LOG = logging.getLogger(__name__)
_KEY = "`model.backbone.pretrained`"


@dataclass(frozen=True)
class Saved:
    """A saved model.

    Attributes:
        family: what it must be.
        name: local folder or hub id.
        revision: of a hub id; None: its newest.
        dropout: instead of its own; None: its own.
        quantization: Hugging Face's configuration of weights in fewer bits; None: float32.
        device: where those in fewer bits are made.
    """

    family: Family
    name: str
    revision: str | None = None
    dropout: float | None = None
    quantization: Any = None
    device: torch.device | None = None


def load_pretrained(saved: Saved, vocabulary: Vocabulary, exact_size: bool) -> PreTrainedModel:
    """A saved backbone that speaks our vocabulary.

    Args:
        saved: where it is.
        vocabulary: of the tokenizer; its special tokens replace the folder's.
        exact_size: cut rows that the vocabulary does not use, as for a tokenizer of its own;
            otherwise they stay, because pretrained ones are often padded to a round number.

    Raises:
        InputError: no such model, of another family, no safetensors, weights that miss, or a
            dropout that the model does not have.
    """
    config = pretrained_config(saved)
    for key, value in saved.family.special_ids(config, vocabulary).items():
        setattr(config, key, value)
    backbone = _read_weights(saved, config)
    rows = backbone.get_input_embeddings().num_embeddings
    if vocabulary.size > rows or (exact_size and vocabulary.size < rows):
        with silent():
            backbone.resize_token_embeddings(vocabulary.size)
    return backbone


def pretrained_config(saved: Saved) -> PreTrainedConfig:
    """The folder's configuration, if it is one of its family, with another dropout.

    Raises:
        InputError: no such model, of another family, or one without dropout.
    """
    config = _read_config(saved)
    if saved.dropout is None:
        return config
    # T5 and its kin call theirs `dropout_rate`; all others `dropout`.
    keys = [key for key in ("dropout", "dropout_rate") if hasattr(config, key)]
    if not keys:
        raise InputError(
            f"`model.backbone.dropout` is {saved.dropout}, but a `{config.model_type}` has no key"
            " `dropout` or `dropout_rate`. Leave it out."
        )
    setattr(config, keys[0], saved.dropout)
    return config


def looks_local(name: str) -> bool:
    """Whether a name can only be that of a folder, not of a model on the hub."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _read_config(saved: Saved) -> PreTrainedConfig:
    """The folder's configuration, if it is one of its family."""
    name, family = saved.name, saved.family
    folder = Path(name)
    if looks_local(name) and not folder.is_dir():
        raise InputError(f"{_KEY} is `{name}`, but there is no such folder.")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise InputError(
            f"{_KEY} is `{name}`, but that folder has no `config.json`."
            " Give a folder written by `save_pretrained`."
        )
    try:
        config = AutoConfig.from_pretrained(
            name, revision=saved.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, HFValidationError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, which cannot be read as a model: {_line(error)}"
        ) from None
    if config.model_type not in family.architectures:
        raise InputError(
            f"{_KEY} is `{name}`, a `{config.model_type}`. Backbone `{family.kind}` takes an"
            f" {family.noun} such as {family.examples}."
        )
    reason = family.why_not(config)
    if reason:
        raise InputError(f"{_KEY} is `{name}`; {reason}. Take {family.examples}.")
    return config


def _read_weights(saved: Saved, config: PreTrainedConfig) -> PreTrainedModel:
    """The model, complete or not at all."""
    name = saved.name
    bits: dict[str, Any] = {}
    if saved.quantization is not None:
        bits = {"quantization_config": saved.quantization, "device_map": {"": saved.device}}
    try:
        with silent():
            backbone, info = saved.family.auto.from_pretrained(
                name,
                config=config,
                revision=saved.revision or "main",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that we can name them
                **bits,
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
