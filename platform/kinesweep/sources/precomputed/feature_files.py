"""Reader for a file with the features of one clip: `.npy`, `.npz` with one array, or `.pt`.

Nothing is ever unpickled (`allow_pickle=False`, `weights_only=True`). The array may have any number
of axes from two on; one of them is time, the others are flattened. Shapes: T frames, D width.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.sources.base import PrecomputedFeatures
from kinesweep.sources.frame_range import resolve_frame_range
from kinesweep.sources.precomputed.pt_features import FEATURE_SUFFIX, read_array
from kinesweep.sources.skeletons.motion_file import open_arrays


def read_feature_file(
    path: Path, span: Span, rate_hz: float, time_axis: int = 0
) -> PrecomputedFeatures:
    """Read a span of the features in a file as float32, (T, D).

    Args:
        path: Path of an `.npy`, `.npz` or `.pt` file.
        span: Part of the file, in milliseconds or in feature vectors.
        rate_hz: Features per second.
        time_axis: Axis of the stored array that is time.

    Raises:
        ClipError: With reason `missing_file`, `unreadable`, `pickled`, `too_large`, `wrong_dtype`,
            `wrong_shape`, `no_frames`, or those of `resolve_frame_range`. The message names the
            file.
    """
    stored = _read_stored_array(path)
    # Whole numbers are indices or pixels, for which means and deviations say nothing.
    if stored.dtype.kind != "f":
        raise ClipError(f"`{path}` holds {stored.dtype}, not floating point numbers", "wrong_dtype")
    if stored.ndim < 2 or time_axis >= stored.ndim:
        raise ClipError(
            f"`{path}` holds an array of shape {stored.shape}; it needs at least two axes, and"
            f" axis {time_axis} as time (`source.time_axis`)",
            "wrong_shape",
        )
    if 0 in stored.shape:
        raise ClipError(f"`{path}` holds no features: its shape is {stored.shape}", "no_frames")
    x = np.moveaxis(stored, time_axis, 0)
    first, end = resolve_frame_range(path, span, rate_hz, len(x))
    # The span is cut before the conversion, so only its frames are copied.
    with np.errstate(over="ignore"):  # values beyond float32 become infinite; the store drops them
        x_TD = np.ascontiguousarray(x[first:end], np.float32).reshape(end - first, -1)
    return PrecomputedFeatures(x_TD, rate_hz)


def _read_stored_array(path: Path) -> NDArray[Any]:
    """Read the only array of a file in its stored shape.

    Raises:
        ClipError: With reason `missing_file`, `unreadable`, `pickled` or `too_large`.
    """
    if path.suffix.lower() == FEATURE_SUFFIX:
        return read_array(path)
    with open_arrays(path) as arrays:
        names = list(arrays)
        if len(names) == 1:
            return np.asarray(arrays[names[0]])
    listed = ", ".join(f"`{name}`" for name in names) or "nothing"
    raise ClipError(f"`{path}` holds {listed}; it must hold a single array", "unreadable")
