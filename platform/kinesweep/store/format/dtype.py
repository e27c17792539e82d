"""Conversion of features to their stored dtype, in one place.

Extraction and the translation of raw files both pass every clip through this module, so that a
model never receives a raw file at a finer resolution than its training data. float16 halves the
store and the page cache; on normalized poses its relative error is below 0.0005. Shapes: T frames,
D width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError


def round_to_store_dtype(features_TD: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Round features to the dtype of a store and return them as a contiguous array, (T, D).

    Args:
        features_TD: Features of one stream of a clip.
        dtype: Stored dtype, `float16` or `float32`; `uint8` for pixels and `int32` for token ids,
            which are not rounded.

    Raises:
        ClipError: If there are no frames, or values are NaN, infinite or beyond the range of
            `dtype`.
    """
    if features_TD.ndim != 2 or 0 in features_TD.shape:
        raise ClipError(
            f"features have the shape {features_TD.shape}; they need at least one frame and value",
            reason="no_frames",
        )
    if np.dtype(dtype).kind in "ui":
        # A contract of the feature step: every value is valid, and a copy of pixels is large.
        assert features_TD.dtype == np.dtype(dtype)
        return np.ascontiguousarray(features_TD)
    num_bad_frames = int(np.count_nonzero(~np.isfinite(features_TD).all(axis=1)))
    if num_bad_frames:
        raise ClipError(
            f"{num_bad_frames} of {len(features_TD)} frames have NaN or infinite features",
            reason="nan_features",
        )
    # The overflow is reported below as an error of this clip, so NumPy's warning is redundant.
    with np.errstate(over="ignore"):
        rounded: NDArray[np.floating] = np.ascontiguousarray(features_TD, dtype=np.dtype(dtype))
    if not np.isfinite(rounded).all():
        largest = float(np.abs(features_TD).max())
        raise ClipError(
            f"a value of {largest:g} does not fit into {dtype} (at most"
            f" {float(np.finfo(rounded.dtype).max):g}); normalize the features or set"
            " `store.dtype: float32`",
            reason="overflow",
        )
    return rounded
