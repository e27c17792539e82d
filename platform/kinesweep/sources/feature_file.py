"""One `.pt` file of features, as SSVP-SLT writes them: a tensor (L, D), no pickle of other things.

Its checksums are verified, which `torch.load` leaves out: there one flipped bit is another number.
That costs under 1 ms a megabyte. Shapes: L and T frames, D width.
"""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinesweep.core.errors import ClipError
from kinesweep.sources.contract import GivenFeatures

if TYPE_CHECKING:
    from torch import Tensor

FEATURE_SUFFIX = ".pt"
_OURS = "the checksum"
"""What our own words begin with; PyTorch's advise to run the file's code."""


def read_features(path: Path, rate_hz: float, length: float | None = None) -> GivenFeatures:
    """Reads a file.

    Args:
        path: the file.
        rate_hz: features a second.
        length: L, where it is known.

    Raises:
        ClipError: reason `missing_file`, `unreadable` (not a tensor file, or one that holds code),
            `wrong_shape` (not two dimensions, empty, or not floating point) or `wrong_length`.
    """
    x_TD = _read_tensor(path)
    if x_TD.ndim != 2 or 0 in x_TD.shape or not x_TD.is_floating_point():
        shape = f"{tuple(x_TD.shape)} of {x_TD.dtype}"
        raise ClipError(
            f"`{path}` holds {shape}; it must hold (length, width) numbers", "wrong_shape"
        )
    if length is not None and len(x_TD) != length:
        raise ClipError(
            f"`{path}` holds {len(x_TD)} features, but its manifest says {length:g}", "wrong_length"
        )
    return GivenFeatures(np.ascontiguousarray(x_TD.detach().float().numpy()), rate_hz)


def _read_tensor(path: Path) -> "Tensor":
    """What a file holds; its code is never run.

    Raises:
        ClipError: reason `missing_file` or `unreadable`.
    """
    if not path.is_file():
        raise ClipError(f"`{path}` does not exist", "missing_file")
    import torch  # seconds; a faulty table is reported without it

    try:
        _check_sums(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make its parsers fail in every way there is
        why = str(error) if str(error).startswith(_OURS) else "damaged, or no tensor of PyTorch's"
        raise ClipError(f"`{path}` cannot be read as a tensor: {why}", "unreadable") from None
    if not isinstance(loaded, torch.Tensor) or loaded.layout != torch.strided:
        held = type(loaded).__name__
        raise ClipError(f"`{path}` holds a {held}, not a dense tensor", "unreadable")
    return loaded


def _check_sums(path: Path) -> None:
    """Reads all of an archive; files of PyTorch before 1.6 are none, and have no sums.

    Raises:
        ValueError: a part of it is not what was written.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{_OURS} of `{damaged}` in it is wrong")
