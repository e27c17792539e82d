"""Strict loading of saved models: exactly the saved weights, or an error.

Hugging Face initializes missing weights at random and drops unexpected ones with a warning. A
projector that was silently random has spoiled results before; here each case is an error that
names the key.

If the weights of a pretrained language model are not trained (`models.base`), they are not saved
either: a checkpoint of rank 64 adapters on a Llama with 8 billion weights takes 0.7 GB instead of
32 GB. The missing weights are exactly those of the base model, which is loaded from its own folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME

from kinesweep.core.errors import CheckpointError
from kinesweep.core.hf_logging import quiet_transformers
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.lora import is_of_adapter

_BACKBONE = "backbone."
# Prefix of the keys of embedding rows for tokens that the base model does not have.
_NEW_ROWS = "new_rows."


def load_strict(load: Callable[..., Any], folder: Any, *args: Any, **kwargs: Any) -> Any:
    """Load a model with Hugging Face and raise an error unless all weights match.

    Args:
        load: `PreTrainedModel.from_pretrained`, bound to a class.
        folder: Folder or hub id of the saved model.
        *args: Passed to `load`.
        **kwargs: Passed to `load`.

    Returns:
        What `load` returns: the model, or model and report with `output_loading_info`.

    Raises:
        CheckpointError: If the model cannot be read, or if keys are missing, unexpected or have
            another shape.
    """
    asked_for_info = kwargs.pop("output_loading_info", False)
    # Make the loader accept mismatched shapes and report them, so that the error can name them.
    fixed = {
        "use_safetensors": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
    }
    try:
        with quiet_transformers():
            model, info = load(folder, *args, **{**kwargs, **fixed})
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        # Hugging Face's messages span many lines; keep the start on one line.
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {text}") from None
    _refuse(folder, _problems(info))
    return (model, info) if asked_for_info else model


def load_config_or_none(folder: Any, config: Any = None) -> KinesweepConfig | None:
    """Return the configuration of a saved translator, or None if it cannot be read.

    Args:
        folder: Folder written by `save_pretrained`, or a hub id.
        config: Configuration that was already loaded, if any.
    """
    if isinstance(config, KinesweepConfig):
        return config
    try:
        with quiet_transformers():
            return KinesweepConfig.from_pretrained(folder)
    except (OSError, ValueError):
        return None


def non_base_state_dict(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return name → tensor for everything that a checkpoint over a base model contains.

    These are all weights outside the backbone, the backbone's adapters, and the embedding rows of
    tokens that the base model does not have. The tensors share memory with the model.
    """
    own = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(_BACKBONE) or is_of_adapter(name)
    }
    base_rows = model.config.base["rows"]
    # Rows that were appended for new tokens are trained; the base model cannot provide them.
    ends = (model.backbone.get_input_embeddings(), model.backbone.get_output_embeddings())
    of_tokens = {id(tensor) for end in ends if end is not None for tensor in end.parameters()}
    for name, parameter in model.named_parameters():  # yields tied parameters once
        if id(parameter) in of_tokens and parameter.shape[0] > base_rows:
            own[f"{_NEW_ROWS}{name}"] = parameter.detach()[base_rows:]
    return own


def saved_bytes(model: PreTrainedModel) -> int:
    """Return the approximate size of a saved translator's weights, in bytes."""
    own = model.parameters() if model.config.base is None else non_base_state_dict(model).values()
    return sum(tensor.numel() * tensor.element_size() for tensor in own)


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """Load the weights of a checkpoint into an existing translator, strictly.

    Args:
        model: Translator, over the same base model if the checkpoint has one.
        folder: Folder written by `save_pretrained`.

    Raises:
        CheckpointError: If the base model is a different one, or if keys are missing, unexpected or
            have another shape.
    """
    path = folder / SAFE_WEIGHTS_NAME
    if model.config.base is None:
        # Strict by default; unlike `load_state_dict` it also handles tied weights.
        safetensors.torch.load_model(model, path)
        return
    base, wanted = model.config.base, KinesweepConfig.from_pretrained(folder).base or {}
    if wanted.get("sha256") != base["sha256"]:
        raise CheckpointError(
            f"`{folder}` was trained on the base model `{wanted.get('name')}` with content"
            f" {wanted.get('sha256')}, but this model uses `{base['name']}` with content"
            f" {base['sha256']}"
        )
    try:
        load_own(model, safetensors.torch.load_file(path), folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {error}") from None


def load_own(model: PreTrainedModel, weights: dict[str, Tensor], folder: Any) -> None:
    """Copy the saved weights of a translator over a base model into it, all or nothing.

    Args:
        model: Translator over the base model.
        weights: Name → tensor, as `non_base_state_dict` names them.
        folder: Folder they came from, for error messages.

    Raises:
        CheckpointError: If keys are missing, unexpected or have another shape; the model is
            unchanged in this case.
    """
    own = non_base_state_dict(model)
    common = own.keys() & weights.keys()
    info = {
        "missing_keys": own.keys() - common,
        "unexpected_keys": weights.keys() - common,
        "mismatched_keys": {key for key in common if own[key].shape != weights[key].shape},
    }
    _refuse(folder, _problems(info))
    with torch.no_grad():
        # `own` shares memory with the model, so copying changes the model itself.
        for name, tensor in own.items():
            tensor.copy_(weights[name])


def _refuse(folder: Any, problems: list[str]) -> None:
    """Raise an error if there are problems."""
    if problems:
        raise CheckpointError(
            f"`{folder}` does not contain exactly the weights of its model: {'; '.join(problems)}."
            " The folder is damaged or was written by another version."
        )


def _problems(info: dict[str, Any]) -> list[str]:
    """Return a text for each kind of mismatch in a loading report; the first 3 keys are named."""
    found = []
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Mismatched keys of Hugging Face's report are tuples: the key and both shapes.
        keys = sorted(key if isinstance(key, str) else str(key[0]) for key in info[name])
        if keys:
            shown = ", ".join(f"`{key}`" for key in keys[:3])
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            found.append(f"{name.removesuffix('_keys')} {shown}{more}")
    return found
