"""Where two sets of weights differ, tensor by tensor.

For the question "is this run the same as that one, and if not, where did they part?". Reads
safetensors only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kinesweep.core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TensorDifference:
    """One tensor of two checkpoints.

    Attributes:
        name: its key.
        equal: the same type, shape and bits (NaN equals itself).
        largest: largest absolute difference; None where the tensor stands on one side only or the
            shapes differ.
        note: what is different beside the values, for people.
    """

    name: str
    equal: bool
    largest: float | None
    note: str = ""


def compare_checkpoints(a: Path, b: Path) -> list[TensorDifference]:
    """Compares the weights of two checkpoints, model folders or safetensors files, by sorted name.

    Raises:
        CheckpointError: no weights there.
    """
    left, right = _load(a), _load(b)
    return [_difference(n, left.get(n), right.get(n)) for n in sorted(left.keys() | right.keys())]


def _difference(name: str, left: "Tensor | None", right: "Tensor | None") -> TensorDifference:
    """One row."""
    import torch

    if left is None or right is None:
        side = "second" if left is None else "first"
        return TensorDifference(name, False, None, f"only in the {side}")
    if left.shape != right.shape:
        return TensorDifference(name, False, None, f"{tuple(left.shape)}, {tuple(right.shape)}")
    note = "" if left.dtype == right.dtype else f"{left.dtype}, {right.dtype}"
    bits = [x.contiguous().flatten().view(torch.uint8) for x in (left, right)]
    equal = not note and torch.equal(*bits)
    gap = (left.double() - right.double()).abs()
    largest = 0.0 if equal or not gap.numel() else float(gap.max())
    return TensorDifference(name, equal, largest, note)


def _load(place: Path) -> "dict[str, Tensor]":
    """All tensors of a file or of a folder's safetensors files."""
    files = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"`{place}` holds no weights (`*.safetensors`); give the `best` folder of a run, one of"
            " its `checkpoints/step-…`, or a bundle"
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # PyTorch: seconds; a wrong folder is refused before

    try:
        return {name: tensor for file in files for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"the weights in `{place}` cannot be read: {error}") from None
