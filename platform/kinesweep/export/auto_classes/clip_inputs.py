"""What a pipeline and a processor take as a clip: files, features, motions.

Shapes: T frames, D width, J joints, C coordinates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.export.inference.clip_names import name_inputs
from kinesweep.export.raw_inputs import Input

FeatureArray = NDArray[Any]
ClipInput = Input | Path | str | FeatureArray | dict[str, FeatureArray]
"""A clip: a file; features (T, D), by stream if there are several; or a motion (T, J, C)."""


def as_input(clip: ClipInput) -> Input:
    """Return a clip as an input of a bundle; for an array, one that stands for its prompts only.

    Raises:
        InputError: If it is nothing that a clip can be.
    """
    if isinstance(clip, Input):
        return clip
    if isinstance(clip, np.ndarray | dict):
        return Input(Path())
    # An empty text would be the current folder.
    if isinstance(clip, str | Path) and clip != "":
        return Input(Path(clip))
    raise InputError(
        "a clip must be a path, an `Input`, a NumPy array or a dictionary of arrays, but is"
        f" {str(clip)[:40]!r} of the type `{type(clip).__name__}`; convert tensors with `.numpy()`"
    )


def name_clips(clips: Sequence[ClipInput]) -> list[str]:
    """Return the names of clips in the draws of sampling: those of files, or their numbers."""
    return [
        str(index) if isinstance(clip, np.ndarray | dict) else name
        for index, (clip, name) in enumerate(
            zip(clips, name_inputs([as_input(clip) for clip in clips]), strict=True)
        )
    ]
