"""Random crops and flips of the frames of a window, the same for all of them.

Shapes: F frames of a window, H = W pixels, C colors.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from kinesweep.config.pretraining.windows import PixelAugmentationConfig

Pixels = NDArray[np.uint8]
# Attempts to draw a crop that fits into the frame, as in torchvision's `RandomResizedCrop`.
_MAX_ATTEMPTS = 10


def augment_window(
    pixels_FHWC: Pixels, size: int, config: PixelAugmentationConfig, rng: np.random.Generator
) -> Pixels:
    """Crop the frames of a window at random, scale them to a size and flip them at random.

    Args:
        pixels_FHWC: Square frames, at least `size` pixels wide, uint8.
        size: Height and width of the result in pixels.
        config: The recipe's `batch.augmentation` section.
        rng: Random generator of the window.
    """
    side = pixels_FHWC.shape[1]
    if config.min_crop == 1:
        height = width = size
    else:
        height, width = _draw_crop_shape(side, config, rng)
    top, left = (int(rng.integers(0, side - length + 1)) for length in (height, width))
    pixels_FHWC = resize_frames(pixels_FHWC[:, top : top + height, left : left + width], size)
    # Drawn always, so that the crop of a window does not depend on the probability of a flip.
    if rng.random() < config.flip:
        pixels_FHWC = pixels_FHWC[:, :, ::-1]
    return np.ascontiguousarray(pixels_FHWC)


def resize_frames(pixels_FHWC: NDArray[Any], size: int) -> Pixels:
    """Scale frames to a square with antialiasing, (F, size, size, C); equal sizes are unchanged.

    Args:
        pixels_FHWC: Frames, uint8.
        size: Height and width of the result in pixels.
    """
    if pixels_FHWC.shape[1:3] == (size, size):
        return np.asarray(pixels_FHWC)
    x_FCHW = torch.from_numpy(np.array(pixels_FHWC)).permute(0, 3, 1, 2)
    # The kernel for bytes rounds by itself and takes a fraction of the time of that for floats.
    x_FCHW = interpolate(x_FCHW, (size, size), mode="bilinear", antialias=True)
    return np.asarray(x_FCHW.permute(0, 2, 3, 1).numpy())


def _draw_crop_shape(
    side: int, config: PixelAugmentationConfig, rng: np.random.Generator
) -> tuple[int, int]:
    """Draw the height and width of a crop; the whole frame if no attempt fits.

    Args:
        side: Height and width of a frame in pixels.
        config: Smallest area and ratios of the crop.
        rng: Random generator of the window.
    """
    for _ in range(_MAX_ATTEMPTS):
        area = side**2 * rng.uniform(config.min_crop, 1)
        # Uniform in the logarithm, so that 3:4 is as likely as 4:3.
        ratio = np.exp(rng.uniform(*np.log(config.aspect_ratio)))
        height, width = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
        if 0 < height <= side and 0 < width <= side:
            return height, width
    return side, side
