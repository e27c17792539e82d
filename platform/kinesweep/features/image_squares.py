"""Images and squares of them: cut out, also across the edges of an image, and resized.

Resizing is bicubic by FFmpeg, as in `sources.video`. Images are H × W pixels, uint8 RGB.
"""

import av
import numpy as np
from numpy.typing import NDArray


def crop_square(image_HW3: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Crop a square from an image, (side, side, 3); pixels outside of the image are black.

    Args:
        image_HW3: Image, uint8 RGB.
        left: Left edge of the square in pixels; it may lie outside of the image.
        top: Top edge of the square in pixels; it may lie outside of the image.
        side: Side length of the square in pixels.
    """
    height, width = image_HW3.shape[:2]
    square = np.zeros((side, side, 3), np.uint8)
    # Both ends are clamped, so a square entirely outside of the image gives an empty slice.
    rows = slice(min(max(top, 0), height), max(min(top + side, height), 0))
    columns = slice(min(max(left, 0), width), max(min(left + side, width), 0))
    overlap = image_HW3[rows, columns]
    if overlap.size:
        y, x = rows.start - top, columns.start - left
        square[y : y + overlap.shape[0], x : x + overlap.shape[1]] = overlap
    return square


def resize_square(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a square image to a side of `size` pixels, bicubic as in `sources.video`."""
    return square if len(square) == size else resize_image(square, size, size)


def resize_image(image_HW3: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize an image to `height` × `width` pixels, bicubic as in `sources.video`."""
    frame = av.VideoFrame.from_ndarray(image_HW3, format="rgb24")
    # One thread, because a process that is forked later would hang when it releases the frame.
    resized = frame.reformat(width, height, "rgb24", interpolation="BICUBIC", threads=1)
    return resized.to_ndarray().astype(np.uint8, copy=False)
