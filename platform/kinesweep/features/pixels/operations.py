"""Operations of RandAugment and color jitter on one frame, computed by Pillow.

Names, strengths and rounding are those of torchvision's `RandAugment` with 31 magnitudes and
nearest-neighbor interpolation, which SSVP-SLT uses. Pillow computes them in integers of 8 bits, so
a frame has the same pixels on every machine; three of four take less than 1 ms at 224 pixels.

Shapes: H × W pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from kinesweep.config.recipe.features.pixel_augmentation import (
    NUM_MAGNITUDES,
    ColorJitterConfig,
    RandAugmentConfig,
)

_MAX_TRANSLATION = 150 / 331
"""Largest translation as a share of the side; 150 of 331 pixels in AutoAugment."""


@dataclass(frozen=True)
class PixelOperation:
    """An operation with its strength, as drawn for a clip.

    Attributes:
        name: Name of the operation, a key of `_OPERATIONS`.
        strength: Strength; its meaning depends on the operation. Lengths are shares of the side.
    """

    name: str
    strength: float

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the changed image, of the same size."""
        return _OPERATIONS[self.name](image, self.strength)


def draw_rand_augment(
    config: RandAugmentConfig, rng: np.random.Generator
) -> tuple[PixelOperation, ...]:
    """Draw the operations of RandAugment; one may occur several times."""
    # torchvision places the magnitudes evenly from 0 to the largest strength.
    share = config.magnitude / (NUM_MAGNITUDES - 1)
    operations = []
    for _ in range(config.num_ops):
        name, compute_strength, is_signed = _RAND_AUGMENT[int(rng.integers(len(_RAND_AUGMENT)))]
        # Drawn for every operation, so that later ones do not depend on the kind of this one.
        sign = -1 if rng.random() < 0.5 and is_signed else 1
        operations.append(PixelOperation(name, sign * compute_strength(share)))
    return tuple(operations)


def draw_color_jitter(
    config: ColorJitterConfig, rng: np.random.Generator
) -> tuple[PixelOperation, ...]:
    """Draw the changes of color of a clip; those that the recipe leaves at 0 are omitted."""
    limits = {
        "brightness": config.brightness,
        "contrast": config.contrast,
        "color": config.saturation,
        "hue": config.hue,
    }
    # All four are drawn, so that turning one off leaves the others as they are.
    drawn = {name: limit * (2 * rng.random() - 1) for name, limit in limits.items()}
    return tuple(PixelOperation(name, drawn[name]) for name, limit in limits.items() if limit)


def _enhance(enhancer: Callable[[Image.Image], ImageEnhance._Enhance]) -> "_Operation":
    """Make the operation that changes a property of an image by a relative strength."""
    return lambda image, strength: enhancer(image).enhance(1 + strength)


def _shift(image: Image.Image, coefficients: tuple[float, ...]) -> Image.Image:
    """Move pixels: the result at (x, y) is the image at (a x + b y + c, d x + e y + f).

    Args:
        image: Image.
        coefficients: The numbers a to f. Places outside of the image are black.
    """
    return image.transform(
        image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST
    )


def _translate_x(image: Image.Image, strength: float) -> Image.Image:
    """Move an image along its width by a share of it, in whole pixels."""
    return _shift(image, (1, 0, -int(strength * image.width), 0, 1, 0))


def _translate_y(image: Image.Image, strength: float) -> Image.Image:
    """Move an image along its height by a share of it, in whole pixels."""
    return _shift(image, (1, 0, 0, 0, 1, -int(strength * image.height)))


def _change_hue(image: Image.Image, strength: float) -> Image.Image:
    """Turn the hue of all pixels by a share of the color circle."""
    hue, saturation, value = image.convert("HSV").split()
    shift = round(strength * 255)
    # Addition in 8 bits wraps around, as the circle does.
    turned = Image.fromarray(np.asarray(hue, np.uint8) + np.uint8(shift % 256))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


_Operation = Callable[[Image.Image, float], Image.Image]
_OPERATIONS: Mapping[str, _Operation] = {
    "identity": lambda image, _: image,
    "shear_x": lambda image, strength: _shift(image, (1, strength, 0, 0, 1, 0)),
    "shear_y": lambda image, strength: _shift(image, (1, 0, 0, strength, 1, 0)),
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": lambda image, degrees: image.rotate(degrees, Image.Resampling.NEAREST),
    "brightness": _enhance(ImageEnhance.Brightness),
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "posterize": lambda image, num_bits: ImageOps.posterize(image, int(num_bits)),
    "solarize": lambda image, threshold: ImageOps.solarize(image, threshold),  # type: ignore[arg-type]
    "auto_contrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "hue": _change_hue,
}
_RAND_AUGMENT: tuple[tuple[str, Callable[[float], float], bool], ...] = (
    ("identity", lambda _: 0.0, False),
    ("shear_x", lambda share: 0.3 * share, True),
    ("shear_y", lambda share: 0.3 * share, True),
    ("translate_x", lambda share: _MAX_TRANSLATION * share, True),
    ("translate_y", lambda share: _MAX_TRANSLATION * share, True),
    ("rotate", lambda share: 30.0 * share, True),
    ("brightness", lambda share: 0.9 * share, True),
    ("color", lambda share: 0.9 * share, True),
    ("contrast", lambda share: 0.9 * share, True),
    ("sharpness", lambda share: 0.9 * share, True),
    ("posterize", lambda share: float(round(8 - 4 * share)), False),
    ("solarize", lambda share: 255.0 * (1 - share), False),
    ("auto_contrast", lambda _: 0.0, False),
    ("equalize", lambda _: 0.0, False),
)
"""Name of an operation, its strength by the share of the largest magnitude, and whether its sign is
random."""
