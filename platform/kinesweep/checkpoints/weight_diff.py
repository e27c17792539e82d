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
        name: Key of the tensor.
        equal: Whether type, shape and bits are the same (NaN equals itself).
        largest: Largest absolute difference; None if the tensor exists on one side only or the
            shapes differ.
        note: Readable description of differences in presence, shape or type.
    """

    name: str
    equal: bool
    largest: float | None
    note: str = ""


def compare_weights(a: Path, b: Path) -> list[TensorDifference]:
    """Compare the weights of two checkpoints, model folders or safetensors files.

    Args:
        a: First checkpoint, model folder or file.
        b: Second checkpoint, model folder or file.

    Returns:
        One entry for each tensor name, sorted by name.

    Raises:
        CheckpointError: If one of the paths holds no weights or cannot be read.
    """
    left, right = _load_tensors(a), _load_tensors(b)
    return [
        _compare_tensor(n, left.get(n), right.get(n)) for n in sorted(left.keys() | right.keys())
    ]


def _compare_tensor(name: str, left: "Tensor | None", right: "Tensor | None") -> TensorDifference:
    """Compare one tensor; None means that it does not exist on that side."""
    import torch

    if left is None or right is None:
        side = "second" if left is None else "first"
        return TensorDifference(name, False, None, f"only in the {side}")
    if left.shape != right.shape:
        return TensorDifference(name, False, None, f"{tuple(left.shape)}, {tuple(right.shape)}")
    note = "" if left.dtype == right.dtype else f"{left.dtype}, {right.dtype}"
    # Compare bytes, not values: NaN then equals itself, and 0.0 differs from -0.0.
    bits = [x.contiguous().flatten().view(torch.uint8) for x in (left, right)]
    equal = not note and torch.equal(*bits)
    difference = (left.double() - right.double()).abs()
    largest = 0.0 if equal or not difference.numel() else float(difference.max())
    return TensorDifference(name, equal, largest, note)


def _load_tensors(path: Path) -> "dict[str, Tensor]":
    """Load all tensors of a file, or of all safetensors files of a folder."""
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
