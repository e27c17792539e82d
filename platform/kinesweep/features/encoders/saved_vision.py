"""A vision model from its folder or the hub: complete, or not at all.

`from_pretrained` fills missing weights with noise and says so in a log; features of noise look like
features. So every weight that they pass through must be there, in its shape, from safetensors; no
code of the folder runs. Of a model of pictures and texts only the tower of pictures is read.
"""

from pathlib import Path

import torch
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
)

from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.silence import silent

_KEY = "`features.encoder.pretrained`"
_READ_AS = {"vit_mae": "vit"}
"""Kinds that hide patches at random even in evaluation, and the same network without that."""
_UNUSED: dict[str, tuple[str, ...]] = {
    "beit": ("pooler.",),
    "deit": ("pooler.",),
    "siglip_vision_model": ("head.",),
    "vit": ("pooler.",),
    "vivit": ("pooler.",),
    "vjepa2": ("predictor.",),
}
"""Kind → weights beyond the last layer that we read, which classifiers are often saved without."""


def read_config(name: str) -> PreTrainedConfig:
    """The configuration of a saved model's tower of pictures or videos.

    Args:
        name: local folder or hub id.

    Raises:
        InputError: there is no such model, or no tower that stands by itself.
    """
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
            f"{_KEY} is `{name}`, which cannot be read as a model: {line(error)}."
        ) from None
    config = getattr(config, "vision_config", config)
    if config.model_type in _READ_AS:
        plain = {**config.to_dict(), "model_type": _READ_AS[config.model_type]}
        config = AutoConfig.for_model(**plain)
    if type(config) not in MODEL_MAPPING:
        raise InputError(
            f"{_KEY} is `{name}`, and a `{config.model_type}` cannot be read by itself. Give a"
            " model of pictures or videos such as `dinov2`, `clip`, `siglip` or `videomae`."
        )
    return config


def read_weights(name: str, config: PreTrainedConfig) -> PreTrainedModel:
    """The tower in float32, for evaluation.

    Args:
        name: local folder or hub id.
        config: of the tower.

    Raises:
        CheckpointError: weights are missing, of another shape, or no safetensors.
    """
    try:
        with silent():
            model, info = AutoModel.from_pretrained(
                name,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that we can name them
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{_KEY} is `{name}`, whose weights cannot be read: {line(error)}."
            " They must be safetensors (`save_pretrained` writes them); pickles are not read."
        ) from None
    unused = _UNUSED.get(config.model_type, ())
    missing = [key for key in info["missing_keys"] if not key.startswith(unused)]
    shapes = [
        f"{key} ({list(saved)}, not {list(own)})" for key, saved, own in info["mismatched_keys"]
    ]
    if missing or shapes:
        raise CheckpointError(_incomplete(name, config.model_type, sorted(missing), sorted(shapes)))
    return model.eval()


def line(error: Exception) -> str:
    """An error's text on one line, bounded."""
    return " ".join(str(error).split())[:300].rstrip(".")


def _incomplete(name: str, kind: str, missing: list[str], shapes: list[str]) -> str:
    parts = [
        f"{len(keys)} {what}: {', '.join(f'`{key}`' for key in keys[:8])}"
        + (" …" if len(keys) > 8 else "")
        for keys, what in ((missing, "are missing"), (shapes, "have another shape"))
        if keys
    ]
    return (
        f"{_KEY} is `{name}`, whose weights are not those of a `{kind}`; {'; '.join(parts)}."
        " Give a folder whose `config.json` and weights belong together."
    )
