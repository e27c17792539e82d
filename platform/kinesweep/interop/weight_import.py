"""Shared steps of weight imports: rename tensors, check that all of them match, write the folder.

Every source tensor must match a parameter of the model, every parameter must have a source tensor,
and shapes must agree. Tied parameters may occur once, or several times with equal values. Any
mismatch is an error that names the tensor, because a projector that was silently left at random
values has spoiled results before.
"""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kinesweep.checkpoints.model_dir import write_model_folder_with_callback
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.schema import StreamSchema
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.models.translator import Translator

# Maximum number of mismatches in an error message.
_MAX_SHOWN_PROBLEMS = 3


def write_imported_model(
    output_dir: Path, model: Translator, tokenizer: TextTokenizer, recipe: Recipe
) -> None:
    """Write the model folder of an imported model, whose feature store is not known yet.

    Args:
        output_dir: Folder to create.
        model: Model with the imported weights.
        tokenizer: Tokenizer of the model.
        recipe: Recipe that the model was trained with; it is written to the folder as a whole.
    """
    # The empty fingerprint and the missing rates stand for the unknown store.
    streams = {
        name: StreamSchema(width, None, recipe.store.dtype)
        for name, width in model.config.get_stream_widths().items()
    }
    write_model_folder_with_callback(
        output_dir, model.save_pretrained, tokenizer, recipe, "", streams
    )


def rename_state_dict_keys(
    tensors: Mapping[str, Tensor],
    renames: Sequence[tuple[str, str]],
    dropped_patterns: Sequence[str],
) -> dict[str, Tensor]:
    """Rename the keys of a source state dict to those of the model, and drop computed values.

    Keys that match no pattern keep their names.

    Args:
        tensors: Source name → tensor.
        renames: Pairs of a pattern for the start of a source name and its replacement; the first
            matching pair is used.
        dropped_patterns: Patterns of source names to drop, because the model computes their values.

    Returns:
        Name in the model → tensor.

    Raises:
        CheckpointError: If two source tensors get the same name.
    """
    renamed_tensors: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if any(re.match(pattern, name) for pattern in dropped_patterns):
            continue
        target_name = _rename_key(name, renames)
        if target_name in renamed_tensors:
            raise CheckpointError(f"two tensors stand for `{target_name}`, one of them `{name}`")
        renamed_tensors[target_name] = tensor
    return renamed_tensors


def read_checkpoint_tensors(path: Path, key: str) -> dict[str, Tensor]:
    """Read the named tensors of a training checkpoint from a file written by `torch.save`.

    The prefix `module.` of data-parallel training is removed from the names.

    Args:
        path: File to read; no pickled code in it is run.
        key: Key of the tensors in the saved dictionary; if it is missing, the dictionary itself
            must consist of tensors.

    Returns:
        Name → tensor on the CPU.

    Raises:
        CheckpointError: If the file cannot be read or contains no named tensors.
    """
    try:
        # `weights_only` restricts the unpickler to tensors and plain values.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"`{path}` cannot be read as tensors: {' '.join(str(error).split())[:200]}. Other"
            f" objects are never built; if the file contains some, save its `{key}` alone"
        ) from None
    # Training checkpoints hold the tensors under `key`, beside optimizer state and settings.
    state = checkpoint.get(key, checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"`{path}` contains neither `{key}` nor named tensors")
    non_tensor_keys = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if non_tensor_keys:
        raise CheckpointError(f"`{path}` contains `{non_tensor_keys[0]}`, which is not a tensor")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def copy_tensors_into_model(
    model: Translator,
    tensors: Mapping[str, Tensor],
    origin: Path,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Copy tensors into a model; every tensor must match, and none of the model may be missing.

    Args:
        model: Model to fill, in place.
        tensors: Name in the model → source tensor.
        origin: File or folder of the source tensors, for error messages.
        state: Name → tensor of the part of the model to fill; None: the whole model.

    Raises:
        CheckpointError: If tensors are missing, superfluous or of the wrong shape, or if tied ones
            differ; the message names the first three problems.
    """
    target_tensors = model.state_dict(keep_vars=True) if state is None else state
    # Everything is checked before the first copy, so a failed import leaves the model unchanged.
    problems = _find_mismatches(target_tensors, tensors)
    if problems:
        shown_problems = "; ".join(problems[:_MAX_SHOWN_PROBLEMS])
        if len(problems) > _MAX_SHOWN_PROBLEMS:
            shown_problems += f"; {len(problems) - _MAX_SHOWN_PROBLEMS} more"
        raise CheckpointError(
            f"`{origin}` does not match the model of its settings: {shown_problems}"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            target_tensors[name].copy_(tensor)


def _find_mismatches(
    model_weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> list[str]:
    """Find all source tensors and model weights that do not match each other.

    Args:
        model_weights: Name → tensor of the model.
        tensors: Name in the model → source tensor.

    Returns:
        A message for each mismatch: superfluous, missing, of another shape, or tied but different.
    """
    # Tied parameters share memory: if one of them has a source, the others are not missing.
    source_pointers = {model_weights[name].data_ptr() for name in tensors if name in model_weights}
    problems = [
        f"`{name}` is not part of the model" for name in tensors if name not in model_weights
    ]
    problems += [
        f"`{name}` is missing"
        for name, tensor in model_weights.items()
        if name not in tensors and tensor.data_ptr() not in source_pointers
    ]
    problems += [
        f"`{name}` is {tuple(tensor.shape)}, not {tuple(model_weights[name].shape)}"
        for name, tensor in tensors.items()
        if name in model_weights and tensor.shape != model_weights[name].shape
    ]
    # Several source tensors for one tied parameter must agree, or the last one would win silently.
    first_names: dict[int, str] = {}
    for name in [name for name in tensors if name in model_weights]:
        tied_name = first_names.setdefault(model_weights[name].data_ptr(), name)
        if tied_name != name and not torch.equal(tensors[tied_name], tensors[name]):
            problems.append(f"`{name}` differs from `{tied_name}`, which the model ties to it")
    return problems


def _rename_key(name: str, renames: Sequence[tuple[str, str]]) -> str:
    """Return the name that a source tensor has in the model; unmatched names stay unchanged.

    Args:
        name: Source name.
        renames: Pairs of a pattern for the start of the name and its replacement.
    """
    # The first match is used: specific patterns precede general ones that match the same names.
    for pattern, replacement in renames:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return name
