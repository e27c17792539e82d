"""The random transform of the frames of a clip: drawn once, then the same for every frame.

It is a pure function of (seed, clip id, epoch), so it does not depend on the process, the machine
or the order of the clips. As in SSVP-SLT, colors and geometry change before a square is cut out,
and mirroring comes last. The crops of body parts, which lie side by side, are changed alike.

Shapes: H pixels high, W pixels wide; W is a multiple of H if there are several crops.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kinesweep.config.recipe.features.pixel_augmentation import (
    PixelAugmentationConfig,
    RandomResizedCropConfig,
)
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import create_generator
from kinesweep.features.pixels.operations import (
    PixelOperation,
    draw_color_jitter,
    draw_rand_augment,
)

AUGMENTATION_VERSION = 1
"""Increased when the pixels for an unchanged configuration change."""
_NUM_TRIES = 10
"""Number of rectangles drawn before the largest fitting one is taken, as in torchvision."""
_MIRROR_NAMES = {"left_hand": "right_hand", "right_hand": "left_hand"}


@dataclass(frozen=True)
class PixelTransform:
    """The transform of all frames of a clip in one epoch.

    Attributes:
        size: Height and width in pixels of the result, per crop.
        decoded_size: Height and width in pixels at which frames must be decoded, per crop.
        operations: Operations on colors and geometry, in their order.
        box: Left, upper, right and lower edge of the rectangle that is cut out, as shares of the
            frame; None keeps the whole frame.
        is_mirrored: Whether frames are mirrored.
        crop_order: Crops of the frame to which those of the result belong, by index: the crop of
            the left hand of a mirrored person shows what was the right hand.
    """

    size: int
    decoded_size: int
    operations: tuple[PixelOperation, ...]
    box: tuple[float, float, float, float] | None
    is_mirrored: bool
    crop_order: tuple[int, ...]

    def __call__(self, frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a changed frame, uint8 of shape (size, size · crops, 3)."""
        # Each crop by itself: a rotation of the whole row would move pixels from one crop into
        # another.
        crops = np.split(frame_HWC, frame_HWC.shape[1] // frame_HWC.shape[0], axis=1)
        order = self.crop_order if self.is_mirrored else range(len(crops))
        return np.concatenate([self._change_crop(crops[index]) for index in order], axis=1)

    def _change_crop(self, crop_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a changed square of a frame, (size, size, 3)."""
        image = Image.fromarray(np.ascontiguousarray(crop_HWC))
        for operation in self.operations:
            image = operation(image)
        if self.box is not None:
            # Cutting and scaling in one step, so that pixels are interpolated once.
            edges = _scale_box(self.box, image.width)
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, edges)
        if self.is_mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(image, np.uint8)


def check_crop_size(config: PixelAugmentationConfig | None, size: int, key: str) -> None:
    """Check that a random crop is cut out of frames that are larger than it.

    Args:
        config: Augmentation; None: none.
        size: Height and width in pixels of the model's input.
        key: Key of the recipe that holds the augmentation.

    Raises:
        InputError: If `random_crop_from` is not larger than the model's input.
    """
    if config is None or config.random_crop_from is None or config.random_crop_from > size:
        return
    raise InputError(
        f"`{key}.random_crop_from` is {config.random_crop_from}, but the model reads frames of"
        f" {size} pixels, so nothing would be cropped; give more than {size} pixels, or remove it"
    )


def draw_transform(
    config: PixelAugmentationConfig, size: int, crops: Sequence[str], clip_id: str, epoch: int
) -> PixelTransform:
    """Draw the transform of a clip in an epoch.

    Args:
        config: Kinds and strengths of the augmentation, and its seed.
        size: Height and width in pixels of the model's input.
        crops: Names of the crops of a frame, in their order.
        clip_id: Id of the clip.
        epoch: Index of the epoch, counted from 0.
    """
    # A generator for each purpose: a change of one operation leaves the draws of the others alone.
    color_rng, operations_rng, box_rng, mirror_rng = (
        create_generator(config.seed, f"pixels {purpose}", epoch, clip_id)
        for purpose in ("color", "operations", "box", "mirror")
    )
    operations: tuple[PixelOperation, ...] = ()
    if config.color_jitter is not None:
        operations += draw_color_jitter(config.color_jitter, color_rng)
    if config.rand_augment is not None:
        operations += draw_rand_augment(config.rand_augment, operations_rng)
    decoded_size, box = _draw_box(config, size, box_rng)
    return PixelTransform(
        size=size,
        decoded_size=decoded_size,
        operations=operations,
        box=box,
        # `random` is below 1, so a probability of 1 mirrors every clip.
        is_mirrored=bool(mirror_rng.random() < config.horizontal_flip),
        crop_order=tuple(
            crops.index(mirrored) if (mirrored := _MIRROR_NAMES.get(name, name)) in crops else index
            for index, name in enumerate(crops)
        ),
    )


def _draw_box(
    config: PixelAugmentationConfig, size: int, rng: np.random.Generator
) -> tuple[int, tuple[float, float, float, float] | None]:
    """Draw the rectangle that is cut out of all frames.

    Returns:
        Height and width in pixels at which frames are decoded, and the edges of the rectangle as
        shares of the frame; None for the whole frame.
    """
    if config.random_resized_crop is not None:
        # Decoded so large that a rectangle of the smallest area is not enlarged.
        decoded_size = math.ceil(size / math.sqrt(config.random_resized_crop.scale[0]))
        return decoded_size, _draw_rectangle(config.random_resized_crop, rng)
    if config.random_crop_from is None:
        return size, None
    # In whole pixels, as torchvision cuts, so that nothing is interpolated.
    margin = config.random_crop_from - size
    left, top = (int(rng.integers(margin + 1)) for _ in range(2))
    edges = (left, top, left + size, top + size)
    return config.random_crop_from, _scale_box(edges, 1 / config.random_crop_from)


def _draw_rectangle(
    config: RandomResizedCropConfig, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draw a rectangle inside of the unit square with a random area and ratio."""
    # Drawn on a logarithmic scale, on which a ratio and its inverse are equally likely.
    log_ratio = np.log(config.ratio)
    for _ in range(_NUM_TRIES):
        area, ratio = rng.uniform(*config.scale), math.exp(rng.uniform(*log_ratio))
        width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if width <= 1 and height <= 1:
            left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
            return (float(left), float(top), float(left + width), float(top + height))
    # The ratio is far from 1: the largest rectangle of an allowed ratio, in the center.
    ratio = min(max(1.0, config.ratio[0]), config.ratio[1])
    width, height = min(1.0, ratio), min(1.0, 1 / ratio)
    return ((1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2)


def _scale_box(edges: Sequence[float], factor: float) -> tuple[float, float, float, float]:
    """Return the edges of a rectangle times a factor."""
    left, top, right, bottom = (edge * factor for edge in edges)
    return left, top, right, bottom
