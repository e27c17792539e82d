"""Loading a saved model exactly, or not at all.

Hugging Face draws missing weights at random and drops unexpected ones with a warning; a projector
that was silently random has spoilt results before. Here each is an error that names the key.

Where a saved language model stays as it is (`models.base`), its weights are left out: a checkpoint
of adapters of rank 64 on a Llama of 8 billion weights takes 0.7 GB instead of 32. What is missing
is then exactly the base, which is read again from its own place.
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
from kinesweep.core.silence import silent
from kinesweep.models.adapters import is_of_adapter
from kinesweep.models.config import KinesweepConfig

_BACKBONE = "backbone."
_NEW_ROWS = "new_rows."
"""Before the name of embeddings: their rows for tokens that the base does not know."""


def load_exactly(load: Callable[..., Any], folder: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls Hugging Face's loader and refuses anything but a perfect fit.

    Args:
        load: `PreTrainedModel.from_pretrained`, bound to a class.
        folder: what was saved.
        *args: handed on.
        **kwargs: handed on.

    Raises:
        CheckpointError: not readable, or keys missing, unexpected or of another shape.
    """
    asked_for_info = kwargs.pop("output_loading_info", False)
    # Shapes that differ are let through the loader, so that we can name them.
    fixed = {
        "use_safetensors": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
    }
    try:
        with silent():
            model, info = load(folder, *args, **{**kwargs, **fixed})
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {text}") from None
    _refuse(folder, _problems(info))
    return (model, info) if asked_for_info else model


def saved_config(folder: Any, config: Any = None) -> KinesweepConfig | None:
    """What a saved translator knows of itself; None where there is nothing to read.

    Args:
        folder: what `save_pretrained` wrote, or a hub id.
        config: what was read of it before.
    """
    if isinstance(config, KinesweepConfig):
        return config
    try:
        with silent():
            return KinesweepConfig.from_pretrained(folder)
    except (OSError, ValueError):
        return None


def own_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """Name → tensor of all that a checkpoint of a translator over a base holds.

    That is everything outside of the backbone, its adapters, and rows of its embeddings for tokens
    that the base does not know. The tensors are the model's own, not copies.
    """
    own = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(_BACKBONE) or is_of_adapter(name)
    }
    base_rows = model.config.base["rows"]
    ends = (model.backbone.get_input_embeddings(), model.backbone.get_output_embeddings())
    of_tokens = {id(tensor) for end in ends if end is not None for tensor in end.parameters()}
    for name, parameter in model.named_parameters():  # tied ones once
        if id(parameter) in of_tokens and parameter.shape[0] > base_rows:
            own[f"{_NEW_ROWS}{name}"] = parameter.detach()[base_rows:]
    return own


def saved_bytes(model: PreTrainedModel) -> int:
    """About what the weights of a saved translator take."""
    own = model.parameters() if model.config.base is None else own_state(model).values()
    return sum(tensor.numel() * tensor.element_size() for tensor in own)


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """Loads the weights of a checkpoint into a translator that is there, strictly.

    Args:
        model: over the same base, if it has one.
        folder: what `save_pretrained` wrote.

    Raises:
        CheckpointError: of another base, or keys missing, unexpected or of another shape.
    """
    path = folder / SAFE_WEIGHTS_NAME
    if model.config.base is None:
        safetensors.torch.load_model(model, path)
        return
    base, wanted = model.config.base, KinesweepConfig.from_pretrained(folder).base or {}
    if wanted.get("sha256") != base["sha256"]:
        raise CheckpointError(
            f"`{folder}` was trained on the base model `{wanted.get('name')}` with content"
            f" {wanted.get('sha256')}, but this one stands on `{base['name']}` with content"
            f" {base['sha256']}"
        )
    try:
        load_own(model, safetensors.torch.load_file(path), folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {error}") from None


def load_own(model: PreTrainedModel, weights: dict[str, Tensor], folder: Any) -> None:
    """Puts what was saved of a translator over a base into it, all or nothing.

    Raises:
        CheckpointError: keys missing, unexpected or of another shape; nothing was changed.
    """
    own = own_state(model)
    common = own.keys() & weights.keys()
    info = {
        "missing_keys": own.keys() - common,
        "unexpected_keys": weights.keys() - common,
        "mismatched_keys": {key for key in common if own[key].shape != weights[key].shape},
    }
    _refuse(folder, _problems(info))
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])


def _refuse(folder: Any, problems: list[str]) -> None:
    """Raises where something does not fit."""
    if problems:
        raise CheckpointError(
            f"`{folder}` does not hold exactly the weights of its model: {'; '.join(problems)}."
            " The folder is damaged or was written by another version."
        )


def _problems(info: dict[str, Any]) -> list[str]:
    """What the loader had to make up or leave out."""
    found = []
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(key if isinstance(key, str) else str(key[0]) for key in info[name])
        if keys:
            shown = ", ".join(f"`{key}`" for key in keys[:3])
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            found.append(f"{name.removesuffix('_keys')} {shown}{more}")
    return found
