"""Reader for files with one image, as an upright RGB array.

Transparent parts are white, because most images with transparency are drawn for a white page.
Rotation marks are followed. Of an animated image, the first frame is read. Shapes: H × W pixels.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kinesweep.core.errors import ClipError
from kinesweep.sources.decoded_size import check_decoded_size
from kinesweep.sources.skeletons.motion_file import open_arrays

_ARRAY_SUFFIX = ".npy"
_NUM_COLORS = 3
_BYTES_OF_16_BITS = 257
"""Factor between 16-bit and 8-bit values: 65535 / 255."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as RGB, uint8 (H, W, 3).

    Args:
        path: Path of an image file, or of an `.npy` with uint8 values, (H, W) or (H, W, 3).

    Raises:
        ClipError: With reason `missing_file`, `unreadable`, `pickled`, `too_large`, `wrong_dtype`
            or `wrong_shape`. The message names the file.
    """
    if path.suffix.lower() == _ARRAY_SUFFIX:
        return _read_image_array(path)
    try:
        # Pillow warns of images that may be attacks; here their size is checked instead.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                check_decoded_size(f"`{path}`", image.width * image.height * _NUM_COLORS)
                image_HW3 = _convert_to_rgb(ImageOps.exif_transpose(image))
    # Of `check_decoded_size`; the last branch would replace its reason.
    except ClipError:
        raise
    except FileNotFoundError:
        raise ClipError(f"`{path}` does not exist", "missing_file") from None
    # Pillow itself refuses images of more than twice the size that it warns of.
    except Image.DecompressionBombError as error:
        raise ClipError(f"`{path}`: {error}", "too_large") from None
    except Exception as error:  # damaged bytes raise many kinds of exceptions in Pillow
        raise ClipError(f"`{path}` cannot be read as an image: {error}", "unreadable") from None
    return image_HW3


def _convert_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert an image of any mode to RGB, uint8 (H, W, 3), on white."""
    if image.mode.startswith("I"):
        # Pillow would cut 16-bit values off at 255.
        values_HW = np.asarray(image, np.float64) / _BYTES_OF_16_BITS
        gray_HW = np.clip(np.rint(values_HW), 0, 255).astype(np.uint8)
        return np.repeat(gray_HW[:, :, None], _NUM_COLORS, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.ascontiguousarray(image.convert("RGB"), np.uint8)


def _read_image_array(path: Path) -> NDArray[np.uint8]:
    """Read an image that is stored as an array; a gray one is repeated for all colors.

    Raises:
        ClipError: With reason `missing_file`, `unreadable`, `pickled`, `too_large`, `wrong_dtype`
            or `wrong_shape`.
    """
    with open_arrays(path) as arrays:
        (stored,) = arrays.values()
        image: NDArray[Any] = np.asarray(stored)
    if image.dtype != np.uint8:
        raise ClipError(f"`{path}` holds {image.dtype}; pixels must be uint8", "wrong_dtype")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], _NUM_COLORS, axis=2)
    if image.ndim != 3 or image.shape[2] != _NUM_COLORS or 0 in image.shape:
        raise ClipError(
            f"`{path}` holds an array of shape {image.shape}; an image is (height, width) or"
            " (height, width, 3)",
            "wrong_shape",
        )
    return np.ascontiguousarray(image)
