"""Recipe section `features.augmentation` of videos: random changes of pixels before the encoder.

Unlike `batch.augmentation`, it is computed during extraction, because the video model runs there.
The defaults are those of SSVP-SLT's feature extraction with `do_aug`.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from kinesweep.config.loading import StrictConfig

NUM_MAGNITUDES = 31
"""Number of magnitudes of RandAugment, counted from 0, as in torchvision."""


def _check_order(bounds: tuple[float, float]) -> tuple[float, float]:
    """Check that the lower bound of a range comes first."""
    if bounds[0] > bounds[1]:
        raise ValueError(f"must be [lower, upper], but is [{bounds[0]:g}, {bounds[1]:g}]")
    return bounds


# Bounds of a range, each checked by itself before `_check_order` compares them.
_Share = Annotated[float, Field(gt=0, le=1)]
_Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RandAugmentConfig(StrictConfig):
    """RandAugment (arXiv 1909.13719): a few random operations of one strength on each frame."""

    num_ops: int = Field(4, ge=1, description="Number of operations, one after the other.")
    magnitude: int = Field(
        7, ge=0, lt=NUM_MAGNITUDES, description="Strength of all operations, from 0 to 30."
    )


class ColorJitterConfig(StrictConfig):
    """Random changes of color; each is drawn once for a clip."""

    brightness: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of the brightness."
    )
    contrast: float = Field(0.0, ge=0, le=1, description="Largest relative change of the contrast.")
    saturation: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of the saturation."
    )
    hue: float = Field(
        0.0, ge=0, le=0.5, description="Largest change of the hue, as a share of the color circle."
    )


class RandomResizedCropConfig(StrictConfig):
    """A random rectangle of each frame, scaled to the size of the model's input."""

    scale: Annotated[tuple[_Share, _Share], AfterValidator(_check_order)] = Field(
        (0.8, 1.0), description="Smallest and largest area, as shares of the frame."
    )
    ratio: Annotated[tuple[_Ratio, _Ratio], AfterValidator(_check_order)] = Field(
        (0.75, 4 / 3), description="Smallest and largest width of the rectangle, by its height."
    )


class PixelAugmentationConfig(StrictConfig):
    """Random augmentation of the frames of training clips, the same for all frames of a clip.

    The random numbers depend on `seed`, the id of the clip and the epoch alone, so every machine
    computes the same pixels. Operations follow each other in the order of these keys.
    """

    seed: int = Field(
        0, description="Random seed of the augmentation; it does not depend on `training.seed`."
    )
    color_jitter: ColorJitterConfig | None = Field(
        None, description="Random changes of color. Default: none."
    )
    rand_augment: RandAugmentConfig | None = Field(
        RandAugmentConfig(), description="RandAugment; null turns it off."
    )
    random_crop_from: int | None = Field(
        None,
        ge=1,
        description="Height and width in pixels to which frames are scaled, before a square of the"
        " model's input size is cut out at a random position. Default: no random crop, as for clips"
        " that have the model's input size already.",
    )
    random_resized_crop: RandomResizedCropConfig | None = Field(
        None,
        description="Random rectangle that is scaled to the model's input size, instead of"
        " `random_crop_from`. Default: none.",
    )
    horizontal_flip: float = Field(
        0.5, ge=0, le=1, description="Probability that all frames of a clip are mirrored."
    )

    @model_validator(mode="after")
    def _check_operations(self) -> "PixelAugmentationConfig":
        """Check that frames are cropped in one way, and that something is random."""
        # Both decide which rectangle of a frame is read.
        if self.random_crop_from is not None and self.random_resized_crop is not None:
            raise ValueError(
                "`random_crop_from` and `random_resized_crop` exclude each other; set one to null"
            )
        jitter = self.color_jitter
        is_random = (
            self.horizontal_flip
            or self.rand_augment
            or self.random_crop_from
            or self.random_resized_crop
            or (jitter and any((jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)))
        )
        if not is_random:
            raise ValueError(
                "changes no pixel, so all epochs would be equal; turn an operation on, or remove"
                " `augmentation`"
            )
        return self
