"""Strict loading of pretrained vision models from a folder or the Hugging Face hub.

`from_pretrained` fills missing weights with random values and only logs a message, but the features
of random weights look like valid features. Therefore every weight that the features depend on must
be present with the right shape, in safetensors; no code from the folder is executed. For a model of
images and texts only the image tower is read.
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

from kinesweep.core.errors import CheckpointError, InputError, format_one_line
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.core.paths import is_local_path

_KEY = "`features.encoder.pretrained`"
# Model types that mask random patches even in evaluation mode → same network without masking.
_EQUIVALENT_TYPES = {"vit_mae": "vit"}
# Model type → prefixes of weights after the last layer that is used here. Classifiers are often
# saved without them, so they may be missing.
_UNUSED_PREFIXES: dict[str, tuple[str, ...]] = {
    "beit": ("pooler.",),
    "deit": ("pooler.",),
    "siglip_vision_model": ("head.",),
    "vit": ("pooler.",),
    "vivit": ("pooler.",),
    "vjepa2": ("predictor.",),
}


def load_vision_config(name: str) -> PreTrainedConfig:
    """Load the configuration of the image or video tower of a saved model.

    The configuration of a hub model is downloaded to the cache.

    Args:
        name: Local folder or hub id.

    Raises:
        InputError: If there is no such model, it cannot be read, or it has no tower that can be
            loaded by itself.
    """
    # A mistyped path must not become a request to the hub, whose error would be misleading.
    folder = Path(name)
    if is_local_path(name) and not folder.is_dir():
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
            f"{_KEY} is `{name}`, which cannot be read as a model: {format_one_line(error)}."
        ) from None
    # CLIP and its relatives nest the configuration of the image tower.
    config = getattr(config, "vision_config", config)
    if config.model_type in _EQUIVALENT_TYPES:
        settings = {**config.to_dict(), "model_type": _EQUIVALENT_TYPES[config.model_type]}
        config = AutoConfig.for_model(**settings)
    if type(config) not in MODEL_MAPPING:
        raise InputError(
            f"{_KEY} is `{name}`, but a `{config.model_type}` cannot be loaded by itself. Give an"
            " image or video model such as `dinov2`, `clip`, `siglip` or `videomae`."
        )
    return config


def load_vision_model(name: str, config: PreTrainedConfig) -> PreTrainedModel:
    """Load the image or video tower of a saved model in float32 and evaluation mode.

    The weights of a hub model are downloaded to the cache.

    Args:
        name: Local folder or hub id.
        config: Configuration of the tower, from `load_vision_config`.

    Raises:
        CheckpointError: If weights cannot be downloaded, are missing, have another shape or are not
            safetensors.
    """
    try:
        with silence_transformers():
            model, info = AutoModel.from_pretrained(
                name,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below by name, with all problems at once
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{_KEY} is `{name}`, whose weights cannot be read: {format_one_line(error)}."
            " Weights must be safetensors (as `save_pretrained` writes); pickles are not read."
        ) from None
    unused_prefixes = _UNUSED_PREFIXES.get(config.model_type, ())
    missing = [key for key in info["missing_keys"] if not key.startswith(unused_prefixes)]
    mismatched = [
        f"{key} ({list(saved)}, not {list(expected)})"
        for key, saved, expected in info["mismatched_keys"]
    ]
    if missing or mismatched:
        raise CheckpointError(
            _format_weight_errors(name, config.model_type, sorted(missing), sorted(mismatched))
        )
    return model.eval()


def _format_weight_errors(
    name: str, model_type: str, missing: list[str], mismatched: list[str]
) -> str:
    """Format the error message for missing weights and weights with another shape.

    Args:
        name: Folder or hub id of the model.
        model_type: Type of the model.
        missing: Names of the missing weights; up to 8 are listed.
        mismatched: Names and shapes of the weights with another shape; up to 8 are listed.
    """
    problems = [
        f"{len(keys)} {problem}: {', '.join(f'`{key}`' for key in keys[:8])}"
        + (" …" if len(keys) > 8 else "")
        for keys, problem in ((missing, "are missing"), (mismatched, "have another shape"))
        if keys
    ]
    return (
        f"{_KEY} is `{name}`, whose weights do not fit a `{model_type}`; {'; '.join(problems)}."
        " Give a folder whose `config.json` and weights belong together."
    )
