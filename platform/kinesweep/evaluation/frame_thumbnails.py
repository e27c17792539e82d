"""Thumbnails: pictures reduced to few values, which the retrieval baseline compares.

Shapes: D width of a frame (side · side · 3), H and W pixels, C colors.
"""

import numpy as np
from numpy.typing import NDArray

_SIDE = 16
"""Largest side of a thumbnail in pixels; 768 values, as many as most video models give."""


def make_thumbnail(frame_D: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Reduce a square RGB picture to at most 16 × 16 pixels, each the mean of a part of it.

    Args:
        frame_D: Picture, flattened from (size, size, 3).
        size: Side of the picture in pixels.

    Returns:
        The thumbnail, flattened.
    """
    frame_HWC = frame_D.reshape(size, size, -1)
    # Bounds of parts that differ by at most one pixel, for sides that 16 does not divide.
    bounds = np.linspace(0, size, min(_SIDE, size), endpoint=False).astype(np.intp)
    counts = np.diff([*bounds, size])
    sums_HWC = np.add.reduceat(np.add.reduceat(frame_HWC, bounds, axis=0), bounds, axis=1)
    thumbnail: NDArray[np.float32] = sums_HWC / np.outer(counts, counts)[..., None]
    return thumbnail.astype(np.float32).reshape(-1)


def count_thumbnail_values(size: int) -> int:
    """Return the number of values of the thumbnail of a picture with sides of `size` pixels."""
    return min(_SIDE, size) ** 2 * 3
