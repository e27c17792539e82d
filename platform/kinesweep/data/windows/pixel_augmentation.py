"""The pixels of a window: scaled to the size of the model, and augmented for training.

The augmentation is that of extraction (`features.pixels`), drawn once for a window.

Shapes: F frames of a window, H × W pixels, C colors.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from kinesweep.config.recipe.features.pixel_augmentation import PixelAugmentationConfig
from kinesweep.features.pixels.transform import draw_transform

Pixels = NDArray[np.uint8]


def augment_window(
    pixels_FHWC: NDArray[Any], size: int, config: PixelAugmentationConfig, seed: int
) -> Pixels:
    """Augment the frames of a window, all alike, (F, size, size, C).

    Args:
        pixels_FHWC: Square frames as stored, uint8.
        size: Height and width of the result in pixels.
        config: The recipe's `batch.augmentation` section.
        seed: Seed of the window, in place of a clip and an epoch.
    """
    transform = draw_transform(config, size, ("whole",), f"window {seed}", epoch=0)
    if transform.box is None:
        # Nothing is cut out, and the transform scales only what it cuts out.
        pixels_FHWC = resize_frames(pixels_FHWC, size)
    return np.stack([transform(frame_HWC) for frame_HWC in pixels_FHWC])


def resize_frames(pixels_FHWC: NDArray[Any], size: int) -> Pixels:
    """Scale frames to a square with antialiasing, (F, size, size, C); equal sizes are unchanged.

    Args:
        pixels_FHWC: Frames, uint8.
        size: Height and width of the result in pixels.
    """
    # Resampling at equal size would still cost time and round every pixel.
    if pixels_FHWC.shape[1:3] == (size, size):
        return np.asarray(pixels_FHWC)
    x_FCHW = torch.from_numpy(np.array(pixels_FHWC)).permute(0, 3, 1, 2)
    # The kernel for bytes rounds by itself and takes a fraction of the time of that for floats.
    x_FCHW = interpolate(x_FCHW, (size, size), mode="bilinear", antialias=True)
    return np.asarray(x_FCHW.permute(0, 2, 3, 1).numpy())
