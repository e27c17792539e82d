"""Strict loading of video encoder checkpoints: each tensor must be either used or expected.

Other parts that a file may contain (a decoder, a classification head, a text tower) are listed in a
literal table and skipped. Any other unknown tensor, and any missing tensor or wrong shape, is an
error, because the features of a partially loaded model look like valid features. No pickled code is
executed: files are read as tensors, and only `argparse.Namespace` and paths, which training scripts
save beside them, are allowed in addition.
"""

import argparse
import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kinesweep.core.errors import CheckpointError

_SUFFIXES = (".pth", ".pt", ".safetensors")
# Prefixes that DistributedDataParallel and torch.compile add to every name.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class CheckpointLayout:
    """The layout of a checkpoint: where the model's tensors are and what else is expected.

    Attributes:
        containers: Keys under which the dict of tensors may be stored; the first one present is
            used, otherwise the file itself is the dict.
        prefixes: Prefixes that the model's names may have; the first one that occurs is used. `""`
            means no prefix.
        ignored_prefixes: Prefixes of names that are skipped, compared with the name both with and
            without the model's prefix.
        hint: Advice for the error message if the file has another layout.
    """

    containers: tuple[str, ...]
    prefixes: tuple[str, ...]
    ignored_prefixes: tuple[str, ...]
    hint: str


def load_checkpoint(model: nn.Module, path: Path, layout: CheckpointLayout) -> None:
    """Load a checkpoint into a model; all weights of the model must be present.

    Args:
        model: Model that receives the weights.
        path: Path of a `.pth`, `.pt` or `.safetensors` file.
        layout: Layout of the file.

    Raises:
        CheckpointError: If the file cannot be read, contains objects other than tensors or does
            not fit the model; the message names the first three problems.
    """
    tensors = _strip_wrapper_prefixes(_get_tensors(_read_checkpoint(path), path, layout.containers))
    assigned, problems = _assign_tensors(tensors, path, layout, model.state_dict())
    problems += _find_tensor_problems(assigned, model.state_dict())
    if problems:
        summary = "; ".join(problems[:3]) + (f"; {len(problems) - 3} more" * (len(problems) > 3))
        raise CheckpointError(f"`{path}` does not fit: {summary}. {layout.hint}")
    model.load_state_dict(assigned, strict=True)


def _read_checkpoint(path: Path) -> Any:
    """Read the content of a checkpoint without executing pickled code.

    Raises:
        CheckpointError: If the file does not exist, has another suffix or cannot be read.
    """
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(
            f"`{path}` does not have the suffix of a checkpoint; it must end in"
            f" {', '.join(_SUFFIXES)}"
        )
    if not path.is_file():
        raise CheckpointError(f"the file `{path}` does not exist; set `checkpoint` to a checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # The allow-list adds two plain classes to what `weights_only` accepts.
        with torch.serialization.safe_globals([argparse.Namespace, pathlib.PosixPath]):
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # errors for arbitrary bytes have no common base class
        raise CheckpointError(f"`{path}` cannot be read: {_format_load_error(error)}") from None


def _format_load_error(error: Exception) -> str:
    """Format on one line why torch cannot read a file."""
    match = re.search(r"GLOBAL (\S+)", str(error))
    # torch names the object that it refuses as `GLOBAL module.name` in its message.
    if match:
        return (
            f"it contains a `{match[1]}`, but only tensors and plain values are read; if you trust"
            " the file, load it yourself and save its tensors to a separate file"
        )
    return f"{type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}"


def _get_tensors(content: Any, path: Path, containers: Sequence[str]) -> dict[str, Tensor]:
    """Return name → tensor from the content of a checkpoint.

    Args:
        content: Content of the file.
        path: Path of the file, for error messages.
        containers: Keys under which the dict of tensors may be stored.

    Raises:
        CheckpointError: If there is no dict of tensors, or it contains other objects.
    """
    if isinstance(content, Mapping):
        content = next((content[key] for key in containers if key in content), content)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"`{path}` does not contain named tensors; they are expected under the keys"
            f" {', '.join(f'`{key}`' for key in containers)} or directly in the file"
        )
    non_tensors = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if non_tensors:
        raise CheckpointError(
            f"`{path}` contains other objects among its tensors: `{non_tensors[0]}` is a"
            f" {type(content[non_tensors[0]]).__name__}; tensors are expected under the keys"
            f" {', '.join(f'`{key}`' for key in containers)} or directly in the file"
        )
    return {str(key): value for key, value in content.items()}


def _strip_wrapper_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strip the prefixes of wrapper modules from the names, if all names have them."""
    # Twice, because the wrappers may be nested in either order.
    for wrapper in _WRAPPERS * 2:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    return tensors


def _assign_tensors(
    tensors: Mapping[str, Tensor],
    path: Path,
    layout: CheckpointLayout,
    model_tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], list[str]]:
    """Assign the tensors of a checkpoint to the names of a model.

    Args:
        tensors: Name → tensor of the checkpoint.
        path: Path of the file, for error messages.
        layout: Layout of the file.
        model_tensors: Name → tensor of the model.

    Returns:
        Name in the model → tensor of the checkpoint, and a problem for each unknown tensor.

    Raises:
        CheckpointError: If no name has one of the prefixes of the layout.
    """
    prefixes = (
        prefix for prefix in layout.prefixes if any(name.startswith(prefix) for name in tensors)
    )
    prefix = next(prefixes, None)
    if prefix is None:
        allowed = ", ".join(f"`{allowed_prefix}`" for allowed_prefix in layout.prefixes)
        raise CheckpointError(f"no tensor name in `{path}` starts with {allowed}. {layout.hint}")
    assigned, problems = {}, []
    for full_name, tensor in tensors.items():
        name = full_name.removeprefix(prefix)
        if full_name.startswith(prefix) and name in model_tensors:
            assigned[name] = tensor
        elif not full_name.startswith(layout.ignored_prefixes) and not name.startswith(
            layout.ignored_prefixes
        ):
            problems.append(f"`{full_name}` is not part of the model")
    return assigned, problems


def _find_tensor_problems(
    assigned: Mapping[str, Tensor], model_tensors: Mapping[str, Tensor]
) -> list[str]:
    """Find tensors of a model that are missing, and assigned ones that do not fit.

    Args:
        assigned: Name in the model → tensor of the checkpoint.
        model_tensors: Name → tensor of the model.

    Returns:
        A problem for each tensor that is missing, has another shape, is not floating point or
        contains non-finite values.
    """
    problems = [f"`{name}` is missing" for name in model_tensors if name not in assigned]
    for name, tensor in assigned.items():
        if tensor.shape != model_tensors[name].shape:
            problems.append(
                f"`{name}` has the shape {tuple(tensor.shape)}, not"
                f" {tuple(model_tensors[name].shape)}"
            )
        elif not tensor.is_floating_point():
            problems.append(f"`{name}` has the dtype {tensor.dtype}, which is not floating point")
        elif not tensor.isfinite().all():
            problems.append(f"`{name}` contains non-finite values")
    return problems
