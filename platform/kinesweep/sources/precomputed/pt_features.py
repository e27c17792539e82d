"""Reader for `.pt` feature files as SSVP-SLT writes them: one tensor (T, D) and nothing else.

The reader verifies the checksums of the archive (under 1 ms per megabyte). `torch.load` does not,
so a flipped bit would silently become another number. Shapes: T frames, D width.
"""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.sources.base import PrecomputedFeatures
from kinesweep.sources.decoded_size import check_decoded_size

if TYPE_CHECKING:
    from torch import Tensor

FEATURE_SUFFIX = ".pt"
_FLOAT_BYTES = 4
_CHECKSUM_PREFIX = "the checksum"
"""Prefix of our own error message. PyTorch's messages are not shown: they suggest loading the file
with its code enabled."""


def read_features(path: Path, rate_hz: float, length: float | None = None) -> PrecomputedFeatures:
    """Read the features of a `.pt` file as float32, (T, D).

    Args:
        path: Path of the `.pt` file.
        rate_hz: Feature rate in features per second.
        length: Expected number of features T, or None if unknown.

    Raises:
        ClipError: With reason `missing_file`, `unreadable` (not a tensor file, or a file with
            code), `wrong_shape` (not two-dimensional, empty, or not floating point) or
            `wrong_length`.
    """
    x_TD = _read_tensor(path)
    if x_TD.ndim != 2 or 0 in x_TD.shape or not x_TD.is_floating_point():
        shape = f"{tuple(x_TD.shape)} of {x_TD.dtype}"
        raise ClipError(
            f"`{path}` holds {shape}; it must hold a floating point tensor (length, width)",
            "wrong_shape",
        )
    if length is not None and len(x_TD) != length:
        raise ClipError(
            f"`{path}` holds {len(x_TD)} features, but its manifest says {length:g}", "wrong_length"
        )
    # A tensor of any size can be a view of a single number, so the file's size says nothing.
    check_decoded_size(f"`{path}`", x_TD.numel() * _FLOAT_BYTES)
    return PrecomputedFeatures(np.ascontiguousarray(x_TD.detach().float().numpy()), rate_hz)


def read_array(path: Path) -> NDArray[Any]:
    """Read the tensor of a `.pt` file as an array in its stored shape; bfloat16 becomes float32.

    Raises:
        ClipError: With reason `missing_file`, `unreadable` or `too_large`.
    """
    tensor = _read_tensor(path).detach()
    check_decoded_size(f"`{path}`", tensor.numel() * tensor.element_size())
    # NumPy has no bfloat16, and smaller floats are not of interest.
    is_numpy_float = str(tensor.dtype) in {"torch.float16", "torch.float32", "torch.float64"}
    array: NDArray[Any] = (
        tensor.float() if tensor.is_floating_point() and not is_numpy_float else tensor
    ).numpy()
    return array


def _read_tensor(path: Path) -> "Tensor":
    """Read the dense tensor in a `.pt` file without running any code that the file contains.

    Raises:
        ClipError: With reason `missing_file` or `unreadable`.
    """
    if not path.is_file():
        raise ClipError(f"`{path}` does not exist", "missing_file")
    import torch  # takes seconds; errors in a table are reported without it

    check_decoded_size(f"`{path}`", path.stat().st_size)
    try:
        _verify_checksums(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise almost any exception in PyTorch's parsers
        reason = (
            str(error)
            if str(error).startswith(_CHECKSUM_PREFIX)
            else "damaged, or not a PyTorch tensor"
        )
        raise ClipError(f"`{path}` cannot be read as a tensor: {reason}", "unreadable") from None
    # Sparse tensors are tensors too, but NumPy has no array for them.
    if not isinstance(loaded, torch.Tensor) or loaded.layout != torch.strided:
        type_name = type(loaded).__name__
        raise ClipError(f"`{path}` holds a {type_name}, not a dense tensor", "unreadable")
    return loaded


def _verify_checksums(path: Path) -> None:
    """Check the checksums of all members of a file, if it is a zip archive.

    Files written by PyTorch before 1.6 are not archives and have no checksums; they pass.

    Raises:
        ValueError: If the checksum of a member does not match.
        OSError: If the file cannot be read.
        zipfile.BadZipFile: If the archive is damaged in another way.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        damaged_member = archive.testzip()
    if damaged_member is not None:
        raise ValueError(
            f"{_CHECKSUM_PREFIX} of `{damaged_member}` in it does not match; copy the file again"
        )
