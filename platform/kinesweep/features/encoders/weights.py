"""Checkpoints of video models, read strictly: every tensor in them has its place or its reason.

What else a file may hold (a decoder, a classifier's head, a text tower) stands in a literal table
and is left; any other tensor without a place, any that is missing or of another shape is an error,
because features of a half-loaded model look like features. Nothing pickled is run: files are read
as tensors, with the plain `argparse.Namespace` and paths that training scripts put beside them.
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
_WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""


@dataclass(frozen=True)
class CheckpointLayout:
    """Where in a file a model's tensors are, and what else may be there.

    Attributes:
        containers: keys of a dict that holds the tensors; the first that is there counts, without
            any the file itself does.
        prefixes: what the model's names begin with; the first that occurs counts. `""`: nothing.
        dropped: beginnings of the names that are left, with the prefix or without it.
        hint: what to do when the file is of another layout.
    """

    containers: tuple[str, ...]
    prefixes: tuple[str, ...]
    dropped: tuple[str, ...]
    hint: str


def load_checkpoint(model: nn.Module, path: Path, layout: CheckpointLayout) -> None:
    """Puts a file's tensors into a model, all of it.

    Raises:
        CheckpointError: the file cannot be read, holds something other than tensors, or does not
            fit; the first three problems are named.
    """
    tensors = _unwrapped(_tensors(_read(path), path, layout.containers))
    placed, problems = _placed(tensors, path, layout, model.state_dict())
    problems += _misfits(placed, model.state_dict())
    if problems:
        shown = "; ".join(problems[:3]) + (f"; {len(problems) - 3} more" * (len(problems) > 3))
        raise CheckpointError(f"`{path}` does not fit: {shown}. {layout.hint}")
    model.load_state_dict(placed, strict=True)


def _read(path: Path) -> Any:
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(
            f"`{path}` is no checkpoint by its name; it must end in {', '.join(_SUFFIXES)}"
        )
    if not path.is_file():
        raise CheckpointError(f"there is no file `{path}`; set `checkpoint` to one that there is")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace, pathlib.PosixPath]):
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # what bytes that are no checkpoint raise has no common class
        raise CheckpointError(f"`{path}` cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """One line of what is often a page."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found:
        return (
            f"it holds a `{found[1]}`, and only tensors and plain values are read; save its"
            " tensors in a file of their own, where you trust it"
        )
    return f"{type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}"


def _tensors(content: Any, path: Path, containers: Sequence[str]) -> dict[str, Tensor]:
    """The dict of tensors in what a file holds."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in containers if key in content), content)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"`{path}` holds no tensors by name; they are looked for in"
            f" {', '.join(f'`{key}`' for key in containers)} and in the file itself"
        )
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"`{path}` holds more than tensors where its tensors are: `{others[0]}` is a"
            f" {type(content[others[0]]).__name__}; they are looked for in"
            f" {', '.join(f'`{key}`' for key in containers)} and in the file itself"
        )
    return {str(key): value for key, value in content.items()}


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what wraps every name; where only some have it, it is no wrapper."""
    for wrapper in _WRAPPERS * 2:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    return tensors


def _placed(
    tensors: Mapping[str, Tensor], path: Path, layout: CheckpointLayout, own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The model's tensors by its own names, and what has no place."""
    prefix = next((p for p in layout.prefixes if any(n.startswith(p) for n in tensors)), None)
    if prefix is None:
        allowed = ", ".join(f"`{one}`" for one in layout.prefixes)
        raise CheckpointError(f"`{path}` has no name that begins with {allowed}. {layout.hint}")
    placed, problems = {}, []
    for full, tensor in tensors.items():
        name = full.removeprefix(prefix)
        if full.startswith(prefix) and name in own:
            placed[name] = tensor
        elif not full.startswith(layout.dropped) and not name.startswith(layout.dropped):
            problems.append(f"`{full}` has no place")
    return placed, problems


def _misfits(placed: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    problems = [f"`{name}` is missing" for name in own if name not in placed]
    for name, tensor in placed.items():
        if tensor.shape != own[name].shape:
            problems.append(f"`{name}` is {tuple(tensor.shape)}, not {tuple(own[name].shape)}")
        elif not tensor.is_floating_point():
            problems.append(f"`{name}` is of {tensor.dtype}, not of floating point")
        elif not tensor.isfinite().all():
            problems.append(f"`{name}` has values that are no finite numbers")
    return problems
