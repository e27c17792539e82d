"""One `.pt` file of features, as SSVP-SLT writes them: a tensor (L, D), no pickle of other things.

Shapes: T frames, D width.
"""

import pickle
from pathlib import Path

import numpy as np
import torch

from kinesweep.core.errors import ClipError
from kinesweep.sources.contract import GivenFeatures

FEATURE_SUFFIX = ".pt"


def read_features(path: Path, rate_hz: float) -> GivenFeatures:
    """Reads a file.

    Raises:
        ClipError: reason `missing_file`, `unreadable` (not a tensor file, or one that holds code)
            or `wrong_shape` (not two dimensions, empty, or not floating point).
    """
    if not path.is_file():
        raise ClipError(f"`{path}` does not exist", "missing_file")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClipError(f"`{path}` cannot be read as a tensor: {said}", "unreadable") from None
    if not isinstance(loaded, torch.Tensor):
        raise ClipError(f"`{path}` holds a {type(loaded).__name__}, not a tensor", "unreadable")
    if loaded.ndim != 2 or 0 in loaded.shape or not loaded.is_floating_point():
        shape = f"{tuple(loaded.shape)} of {loaded.dtype}"
        raise ClipError(
            f"`{path}` holds {shape}; it must hold (length, width) numbers", "wrong_shape"
        )
    return GivenFeatures(np.ascontiguousarray(loaded.float().numpy()), rate_hz)
