"""Pretrained backbones: loaded from a folder or hub id, with only the vocabulary adapted.

Weights are read from safetensors only, as float32, and no code from the folder is executed. If the
tokenizer has more tokens than the model, embedding rows are added. They are drawn around the mean
of the existing rows from torch's generator, so a seeded run gets the same rows.
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
from kinesweep.core.hf_logging import quiet_transformers
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.architectures import Family

_LOG = logging.getLogger(__name__)
_KEY = "`model.backbone.pretrained`"


@dataclass(frozen=True)
class Saved:
    """A saved model and how to load it.

    Attributes:
        family: Family the model must belong to.
        name: Local folder or hub id.
        revision: Revision of a hub id; None: the latest.
        dropout: Dropout that replaces the saved value; None: the saved value.
        quantization: Hugging Face quantization config; None: float32.
        device: Device on which quantized weights are created.
    """

    family: Family
    name: str
    revision: str | None = None
    dropout: float | None = None
    quantization: Any = None
    device: torch.device | None = None


def load_pretrained(saved: Saved, vocabulary: Vocabulary, exact_size: bool) -> PreTrainedModel:
    """Load a pretrained backbone and adapt it to our vocabulary.

    Args:
        saved: Model to load.
        vocabulary: Vocabulary of the tokenizer; its special tokens replace the model's.
        exact_size: Remove embedding rows that the vocabulary does not use, for a tokenizer of our
            own. Otherwise they stay, because pretrained tables are often padded to a round number.

    Raises:
        InputError: If the model does not exist, belongs to another family, has no safetensors,
            lacks weights, or has no dropout to replace.
    """
    config = pretrained_config(saved)
    for key, value in saved.family.special_ids(config, vocabulary).items():
        setattr(config, key, value)
    backbone = _read_weights(saved, config)
    rows = backbone.get_input_embeddings().num_embeddings
    if vocabulary.size > rows or (exact_size and vocabulary.size < rows):
        # Silenced, because Hugging Face warns about sizes that do not suit tensor cores.
        with quiet_transformers():
            backbone.resize_token_embeddings(vocabulary.size)
    return backbone


def pretrained_config(saved: Saved) -> PreTrainedConfig:
    """Return the configuration of a saved model, checked and with the requested dropout.

    Raises:
        InputError: If the model does not exist, belongs to another family, or has no dropout to
            replace.
    """
    config = _read_config(saved)
    if saved.dropout is None:
        return config
    # T5 and its relatives call it `dropout_rate`, all others `dropout`.
    keys = [key for key in ("dropout", "dropout_rate") if hasattr(config, key)]
    if not keys:
        raise InputError(
            f"`model.backbone.dropout` is {saved.dropout}, but a `{config.model_type}` has no key"
            " `dropout` or `dropout_rate`. Remove the setting."
        )
    setattr(config, keys[0], saved.dropout)
    return config


def looks_local(name: str) -> bool:
    """Return whether a name can only be a folder, not a hub id."""
    # A hub id has at most one slash: `owner/name`.
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _read_config(saved: Saved) -> PreTrainedConfig:
    """Return the configuration of a saved model and check its family."""
    name, family = saved.name, saved.family
    folder = Path(name)
    # Without this check Hugging Face would look for the missing folder on the hub.
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
            f"{_KEY} is `{name}`, a `{config.model_type}`. Backbone `{family.kind}` needs a"
            f" model of another family: {family.noun}, such as {family.examples}."
        )
    reason = family.unsupported_reason(config)
    if reason:
        raise InputError(f"{_KEY} is `{name}`; {reason}. Use {family.examples}.")
    return config


def _read_weights(saved: Saved, config: PreTrainedConfig) -> PreTrainedModel:
    """Load the model with all of its weights, or raise an error."""
    name = saved.name
    bits: dict[str, Any] = {}
    if saved.quantization is not None:
        bits = {"quantization_config": saved.quantization, "device_map": {"": saved.device}}
    try:
        with quiet_transformers():
            backbone, info = saved.family.auto.from_pretrained(
                name,
                config=config,
                revision=saved.revision or "main",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with names
                **bits,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, whose weights cannot be read: {_line(error)}."
            " They must be safetensors (`save_pretrained` writes them); pickle files are not read."
        ) from None
    missing = sorted([*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])])
    if missing:
        raise InputError(
            f"{_KEY} is `{name}`, in which {len(missing)} weights of a `{config.model_type}` are"
            f" missing or have another shape, for example `{missing[0]}`."
        )
    # Unlike missing weights, additional ones do no harm: heads of other tasks, for example.
    unexpected = sorted(info["unexpected_keys"])
    if unexpected:
        text = "%s: %d weights have no place in the model, for example %s"
        _LOG.warning(text, name, len(unexpected), unexpected[0])
    return backbone


def _line(error: Exception) -> str:
    """Return an error's text on one line, at most 300 characters."""
    return " ".join(str(error).split())[:300].rstrip(".")
