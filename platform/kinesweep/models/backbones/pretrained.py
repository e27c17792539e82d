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

from kinesweep.core.errors import InputError, format_one_line
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.core.paths import is_local_path
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.architectures import BackboneFamily

_LOG = logging.getLogger(__name__)
_KEY = "`model.backbone.pretrained`"


@dataclass(frozen=True)
class PretrainedModelSpec:
    """A pretrained model and its loading options.

    Attributes:
        family: Family the model must belong to.
        name: Local folder or hub id.
        revision: Revision of a hub id; None: the latest.
        dropout: Dropout that replaces the saved value; None: the saved value.
        quantization: Hugging Face quantization config; None: float32.
        device: Device on which quantized weights are created.
    """

    family: BackboneFamily
    name: str
    revision: str | None = None
    dropout: float | None = None
    quantization: Any = None
    device: torch.device | None = None


def load_pretrained_backbone(
    spec: PretrainedModelSpec, vocabulary: Vocabulary, exact_size: bool
) -> PreTrainedModel:
    """Load a pretrained backbone and adapt its special tokens and embeddings to our vocabulary.

    Args:
        spec: Model to load.
        vocabulary: Vocabulary of the tokenizer; its special tokens replace the model's.
        exact_size: Remove embedding rows that the vocabulary does not use, for a tokenizer of our
            own. Otherwise they stay, because pretrained tables are often padded to a round number.

    Raises:
        InputError: If the model does not exist, belongs to another family, has no safetensors,
            lacks weights, or has no dropout to replace.
    """
    config = load_pretrained_config(spec)
    for key, value in spec.family.get_special_ids(config, vocabulary).items():
        setattr(config, key, value)
    backbone = _load_complete_model(spec, config)
    num_rows = backbone.get_input_embeddings().num_embeddings
    # A larger table is cut only on request: pretrained tables can have more rows than tokens.
    if vocabulary.size > num_rows or (exact_size and vocabulary.size < num_rows):
        # Silenced, because Hugging Face warns about sizes that do not suit tensor cores.
        with silence_transformers():
            backbone.resize_token_embeddings(vocabulary.size)
    return backbone


def load_pretrained_config(spec: PretrainedModelSpec) -> PreTrainedConfig:
    """Load the configuration of a pretrained model, check its family and set the dropout.

    Raises:
        InputError: If the model does not exist, belongs to another family, or has no dropout to
            replace.
    """
    config = _read_config(spec)
    if spec.dropout is None:
        return config
    # T5 and its relatives call it `dropout_rate`, all others `dropout`.
    keys = [key for key in ("dropout", "dropout_rate") if hasattr(config, key)]
    if not keys:
        raise InputError(
            f"`model.backbone.dropout` is {spec.dropout}, but a `{config.model_type}` has no key"
            " `dropout` or `dropout_rate`. Remove the setting."
        )
    setattr(config, keys[0], spec.dropout)
    return config


def _read_config(spec: PretrainedModelSpec) -> PreTrainedConfig:
    """Read the configuration of a pretrained model and check its family.

    Raises:
        InputError: If the model does not exist, cannot be read, belongs to another family, or
            cannot be a backbone.
    """
    name, family = spec.name, spec.family
    folder = Path(name)
    # Without this check Hugging Face would look for the missing folder on the hub.
    if is_local_path(name) and not folder.is_dir():
        raise InputError(f"{_KEY} is `{name}`, but there is no such folder.")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise InputError(
            f"{_KEY} is `{name}`, but that folder has no `config.json`."
            " Give a folder written by `save_pretrained`."
        )
    try:
        config = AutoConfig.from_pretrained(
            name, revision=spec.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, HFValidationError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, which cannot be read as a model: {format_one_line(error)}"
        ) from None
    if config.model_type not in family.architectures:
        raise InputError(
            f"{_KEY} is `{name}`, a `{config.model_type}`. Backbone `{family.kind}` needs a"
            f" model of another family: {family.display_name}, such as {family.examples}."
        )
    reason = family.get_unsupported_reason(config)
    if reason:
        raise InputError(f"{_KEY} is `{name}`; {reason}. Use {family.examples}.")
    return config


def _load_complete_model(spec: PretrainedModelSpec, config: PreTrainedConfig) -> PreTrainedModel:
    """Load a pretrained model whose weights are all present; log a warning for additional ones.

    Raises:
        InputError: If the weights cannot be read from safetensors, or some are missing or have
            another shape.
    """
    name = spec.name
    quantization_options: dict[str, Any] = {}
    if spec.quantization is not None:
        quantization_options = {
            "quantization_config": spec.quantization,
            "device_map": {"": spec.device},
        }
    try:
        with silence_transformers():
            backbone, info = spec.family.auto_class.from_pretrained(
                name,
                config=config,
                revision=spec.revision or "main",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with names
                **quantization_options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, whose weights cannot be read: {format_one_line(error)}."
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
