"""Tensor-by-tensor comparison of two sets of weights.

It answers whether two runs are identical and, if not, which tensors differ. It reads safetensors
files only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kinesweep.core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TensorDifference:
    """The comparison of one tensor in two checkpoints.

    Attributes:
        name: Name of the tensor in the state dict.
        is_equal: Whether type, shape and bits are the same (NaN equals itself).
        largest_difference: Largest absolute difference of the values; None if only one checkpoint
            has the tensor or the shapes differ.
        note: Readable description of differences in presence, shape or type; empty without one.
    """

    name: str
    is_equal: bool
    largest_difference: float | None
    note: str = ""


def compare_weights(first_path: Path, second_path: Path) -> list[TensorDifference]:
    """Compare the weights of two checkpoints, model folders or safetensors files.

    Args:
        first_path: First checkpoint, model folder or file.
        second_path: Second checkpoint, model folder or file.

    Returns:
        One comparison for each tensor name of either side, equal tensors included, sorted by name.

    Raises:
        CheckpointError: If one of the paths holds no weights or cannot be read.
    """
    first_tensors, second_tensors = _load_tensors(first_path), _load_tensors(second_path)
    return [
        _compare_tensor(name, first_tensors.get(name), second_tensors.get(name))
        for name in sorted(first_tensors.keys() | second_tensors.keys())
    ]


def _compare_tensor(name: str, first: "Tensor | None", second: "Tensor | None") -> TensorDifference:
    """Compare one tensor of two checkpoints, of which at least one has it.

    Args:
        name: Name of the tensor in the state dict.
        first: Tensor in the first checkpoint; None if it is missing there.
        second: Tensor in the second checkpoint; None if it is missing there.
    """
    import torch

    if first is None or second is None:
        owner = "second" if first is None else "first"
        return TensorDifference(name, False, None, f"only in the {owner}")
    if first.shape != second.shape:
        return TensorDifference(name, False, None, f"{tuple(first.shape)}, {tuple(second.shape)}")
    note = "" if first.dtype == second.dtype else f"{first.dtype}, {second.dtype}"
    # Compare bytes, not values: NaN then equals itself, and 0.0 differs from -0.0.
    first_bytes = first.contiguous().flatten().view(torch.uint8)
    second_bytes = second.contiguous().flatten().view(torch.uint8)
    is_equal = not note and torch.equal(first_bytes, second_bytes)
    difference = (first.double() - second.double()).abs()
    largest_difference = 0.0 if is_equal or not difference.numel() else float(difference.max())
    return TensorDifference(name, is_equal, largest_difference, note)


def _load_tensors(path: Path) -> "dict[str, Tensor]":
    """Load all tensors of a file, or of all safetensors files of a folder; return name → tensor.

    Raises:
        CheckpointError: If the path holds no weights or they cannot be read.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"`{path}` holds no weights (`*.safetensors`); give the `best` folder of a run, one of"
            " its `checkpoints/step-…`, or a bundle"
        )
    # Importing PyTorch takes seconds; an invalid folder was already rejected above.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor for file in files for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"the weights in `{path}` cannot be read: {error}") from None
