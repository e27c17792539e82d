"""Rounding to the type that features have on disk, in one place.

Extraction passes every clip through here, and so does translation of a raw file: a model never sees
a raw file in finer steps than it was trained on. float16 halves the store and the page cache; on
normalised poses its relative error is below 0.0005. Shapes: T frames, D width.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError


def to_store(features_TD: NDArray[np.floating], dtype: str) -> NDArray[np.floating]:
    """The same features, rounded to `dtype` and contiguous.

    Args:
        features_TD: finite values, at least one frame.
        dtype: `float16` or `float32`.

    Raises:
        ClipError: no frames, NaN or infinite values, or values beyond the range of `dtype`.
    """
    if features_TD.ndim != 2 or 0 in features_TD.shape:
        raise ClipError(
            f"features have the shape {features_TD.shape}; they need at least one frame and value",
            reason="no_frames",
        )
    bad = int(np.count_nonzero(~np.isfinite(features_TD).all(axis=1)))
    if bad:
        raise ClipError(
            f"{bad} of {len(features_TD)} frames have NaN or infinite features",
            reason="nan_features",
        )
    with np.errstate(over="ignore"):
        rounded: NDArray[np.floating] = np.ascontiguousarray(features_TD, dtype=np.dtype(dtype))
    if not np.isfinite(rounded).all():
        largest = float(np.abs(features_TD).max())
        raise ClipError(
            f"a value of {largest:g} does not fit into {dtype} (at most"
            f" {float(np.finfo(rounded.dtype).max):g}); normalise the features or set"
            " `store.dtype: float32`",
            reason="overflow",
        )
    return rounded
