"""The frames of a motion file: how many there are, and which of them have no numbers.

The joints of one frame have the shape (J, 3), because the published scripts remove axes of length 1
before they save a motion; they are one frame here.

Shapes: T frames, J points, D features.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.sources.prepare.motions.motion_corpora import MotionCorpus, MotionFeatures
from kinesweep.sources.skeletons.motion_file import open_arrays


@dataclass(frozen=True)
class MotionFrames:
    """The frames of a motion file.

    Attributes:
        is_valid_T: Whether all values of a frame are finite numbers in float32.
    """

    is_valid_T: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Return the number of frames, T."""
        return len(self.is_valid_T)


def read_motion_frames(path: Path, corpus: MotionCorpus, features: MotionFeatures) -> MotionFrames:
    """Read which frames a motion file has.

    Args:
        path: Path of the `.npy` file.
        corpus: Corpus with the number of joints and of features.
        features: Kind of the file.

    Raises:
        ClipError: With reason `missing_file`, `unreadable`, `pickled`, `too_large`, `wrong_dtype`
            or `wrong_shape`.
    """
    with open_arrays(path) as arrays:
        # An `.npz` that was renamed has no array of this name.
        x = np.asarray(arrays["array"]) if "array" in arrays else np.zeros(0)
    if x.dtype.kind != "f":
        raise ClipError(f"`{path}` holds {x.dtype}, not floating point numbers", "wrong_dtype")
    x_TD = _flatten_frames(x, corpus, features)
    if x_TD is None:
        width = (
            f"{corpus.num_points}, 3" if features == "joints" else f"{corpus.num_features} features"
        )
        text = f"`{path}` holds an array of shape {x.shape}; expected (frames, {width})"
        raise ClipError(text, "wrong_shape")
    # As sources read them: values beyond float32 become infinite.
    with np.errstate(all="ignore"):
        read_TD: NDArray[np.float32] = x_TD.astype(np.float32, copy=False)
    return MotionFrames(np.asarray(np.isfinite(read_TD).all(axis=1)))


def _flatten_frames(
    x: NDArray[Any], corpus: MotionCorpus, features: MotionFeatures
) -> NDArray[Any] | None:
    """Flatten the values of each frame to (T, D).

    Args:
        x: Array of a file: joints (T, J, 3) or, of a single frame, (J, 3); or features (T, D).
        corpus: Corpus with the number of joints and of features.
        features: Kind of the file.

    Returns:
        The values; None if the array has another shape.
    """
    if features == "vecs":
        return x if x.ndim == 2 and x.shape[1] == corpus.num_features else None
    shape = (corpus.num_points, 3)
    if x.shape == shape:
        return x.reshape(1, -1)
    return x.reshape(len(x), corpus.num_points * 3) if x.shape[1:] == shape else None
