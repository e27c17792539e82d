"""Strict loading of saved models: exactly the saved weights, or an error.

Hugging Face initializes missing weights at random and drops unexpected ones with a warning.
Silently random projectors have invalidated results before, so each case is an error here that
names the key.

If the weights of a pretrained language model are not trained (`models.base_model`), they are not
saved either: a checkpoint of rank 64 adapters on a Llama with 8 billion weights takes 0.7 GB
instead of 32 GB. The missing weights are exactly those of the base model, which is loaded from its
own folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_utils import remove_tied_weights_from_state_dict
from transformers.utils import CONFIG_NAME, GENERATION_CONFIG_NAME, SAFE_WEIGHTS_NAME

from kinesweep.core.errors import CheckpointError, format_one_line
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.lora import is_adapter_weight

_BACKBONE_PREFIX = "backbone."
# Prefix of the keys of embedding rows for tokens that the base model does not have.
_NEW_ROWS_PREFIX = "new_rows."


def load_model_strict(load: Callable[..., Any], folder: Any, *args: Any, **kwargs: Any) -> Any:
    """Load a model with Hugging Face and raise an error unless its weights match exactly.

    Args:
        load: `PreTrainedModel.from_pretrained`, bound to a class.
        folder: Folder or hub id of the saved model.
        *args: Passed to `load`.
        **kwargs: Passed to `load`.

    Returns:
        Result of `load`: the model, or model and report with `output_loading_info`.

    Raises:
        CheckpointError: If the model cannot be read, or if keys are missing, unexpected or have
            another shape.
    """
    returns_loading_info = kwargs.pop("output_loading_info", False)
    # Make the loader accept mismatched shapes and report them, so that the error can name them.
    strict_options = {
        "use_safetensors": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
    }
    try:
        with silence_transformers():
            model, info = load(folder, *args, **{**kwargs, **strict_options})
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        # Hugging Face's messages span many lines; keep the start on one line.
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {text}") from None
    _raise_on_mismatch(folder, _describe_mismatches(info))
    return (model, info) if returns_loading_info else model


def load_config_or_none(folder: Any, config: Any = None) -> KinesweepConfig | None:
    """Load the configuration of a saved translator; None if it cannot be read.

    Args:
        folder: Folder written by `save_pretrained`, or a hub id.
        config: Configuration that was already loaded; it is returned if it is a `KinesweepConfig`,
            otherwise ignored.
    """
    if isinstance(config, KinesweepConfig):
        return config
    try:
        with silence_transformers():
            return KinesweepConfig.from_pretrained(folder)
    except (OSError, ValueError):
        return None


def get_non_base_state_dict(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint that omits the weights of its base model.

    It contains all weights outside the backbone, the backbone's adapters, and the embedding rows of
    tokens that the base model does not have. The tensors share memory with the model.

    Args:
        model: Translator over a base model.

    Returns:
        Name → tensor.
    """
    state_dict = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(_BACKBONE_PREFIX) or is_adapter_weight(name)
    }
    num_base_rows = model.config.base["rows"]
    # Rows that were appended for new tokens are trained; the base model cannot provide them.
    embeddings = (model.backbone.get_input_embeddings(), model.backbone.get_output_embeddings())
    token_parameter_ids = {
        id(tensor)
        for embedding in embeddings
        if embedding is not None
        for tensor in embedding.parameters()
    }
    for name, parameter in model.named_parameters():  # yields tied parameters once
        if id(parameter) in token_parameter_ids and parameter.shape[0] > num_base_rows:
            state_dict[f"{_NEW_ROWS_PREFIX}{name}"] = parameter.detach()[num_base_rows:]
    return state_dict


def collect_saved_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the tensors that `save_pretrained` of a translator writes to `model.safetensors`.

    The objective of the model must be detached. The tensors share memory with the model.

    Returns:
        Name → tensor, without the second names of tied weights.
    """
    state_dict = get_non_base_state_dict(model) if model.config.base else model.state_dict()
    ignored_keys = set(model._keys_to_ignore_on_save or ())
    state_dict = {name: x for name, x in state_dict.items() if name not in ignored_keys}
    return dict(remove_tied_weights_from_state_dict(state_dict, model))


def format_saved_configs(model: PreTrainedModel) -> dict[str, str]:
    """Return the text files that `save_pretrained` of a translator writes: name → content."""
    # `save_pretrained` changes these two values as well.
    model.config.dtype = str(model.dtype).removeprefix("torch.")
    model.config.architectures = [type(model).__name__.removeprefix("FSDP")]
    texts = {CONFIG_NAME: model.config.to_json_string(use_diff=True)}
    if model.can_generate():
        generation_config = model.generation_config
        texts[GENERATION_CONFIG_NAME] = generation_config.to_json_string(
            use_diff=True, keys_to_pop=["compile_config"]
        )
    return texts


def estimate_saved_bytes(model: PreTrainedModel) -> int:
    """Estimate the size in bytes of the weights that `save_pretrained` writes for a translator."""
    tensors = (
        model.parameters() if model.config.base is None else get_non_base_state_dict(model).values()
    )
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def load_checkpoint_weights(model: PreTrainedModel, folder: Path) -> None:
    """Load the weights of a checkpoint into an existing translator, strictly.

    Args:
        model: Translator, over the same base model if the checkpoint has one.
        folder: Folder written by `save_pretrained`.

    Raises:
        CheckpointError: If the model has a base model and the checkpoint was trained on a different
            one, or its configuration or weights cannot be read, or have keys that are missing,
            unexpected or of another shape.
    """
    path = folder / SAFE_WEIGHTS_NAME
    base = model.config.base
    try:
        if base is None:
            # Strict by default; unlike `load_state_dict` it also handles tied weights.
            safetensors.torch.load_model(model, path)
            return
        saved_base = KinesweepConfig.from_pretrained(folder).base or {}
        weights = safetensors.torch.load_file(path)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        message = format_one_line(error)
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {message}") from None
    if saved_base.get("sha256") != base["sha256"]:
        raise CheckpointError(
            f"`{folder}` was trained on the base model `{saved_base.get('name')}` with content"
            f" {saved_base.get('sha256')}, but this model uses `{base['name']}` with content"
            f" {base['sha256']}"
        )
    load_non_base_weights(model, weights, folder)


def load_non_base_weights(model: PreTrainedModel, weights: dict[str, Tensor], folder: Any) -> None:
    """Copy saved weights into a translator over a base model, strictly.

    Args:
        model: Translator over the base model.
        weights: Name → tensor, as returned by `get_non_base_state_dict`.
        folder: Folder of the weights, for error messages.

    Raises:
        CheckpointError: If keys are missing, unexpected or have another shape; the model is
            unchanged in this case.
    """
    state_dict = get_non_base_state_dict(model)
    common_keys = state_dict.keys() & weights.keys()
    info = {
        "missing_keys": state_dict.keys() - common_keys,
        "unexpected_keys": weights.keys() - common_keys,
        "mismatched_keys": {
            key for key in common_keys if state_dict[key].shape != weights[key].shape
        },
    }
    _raise_on_mismatch(folder, _describe_mismatches(info))
    with torch.no_grad():
        # `state_dict` shares memory with the model, so copying changes the model itself.
        for name, tensor in state_dict.items():
            tensor.copy_(weights[name])


def _raise_on_mismatch(folder: Any, problems: list[str]) -> None:
    """Raise a `CheckpointError` that lists the mismatches; do nothing if there are none.

    Args:
        folder: Folder of the weights, for the message.
        problems: Mismatches, from `_describe_mismatches`.
    """
    if problems:
        raise CheckpointError(
            f"`{folder}` does not contain exactly the weights of its model: {'; '.join(problems)}."
            " The folder is damaged or was written by another version."
        )


def _describe_mismatches(info: dict[str, Any]) -> list[str]:
    """Describe each kind of mismatch in a loading report, with its first 3 keys in sorted order.

    Args:
        info: Report with `missing_keys`, `unexpected_keys` and `mismatched_keys`.
    """
    problems = []
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Mismatched keys of Hugging Face's report are tuples: the key and both shapes.
        keys = sorted(key if isinstance(key, str) else str(key[0]) for key in info[name])
        if keys:
            first_keys = ", ".join(f"`{key}`" for key in keys[:3])
            suffix = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            problems.append(f"{name.removesuffix('_keys')} {first_keys}{suffix}")
    return problems
