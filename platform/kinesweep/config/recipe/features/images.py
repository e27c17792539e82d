"""Recipe section `features` for images: image files, and texts or SignWriting drawn as images."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.video import HfVisionEncoderConfig


class ImagesFeaturesConfig(StrictConfig):
    """Images of a clip: one image file, one image for each sign, or one for each drawn word.

    With an `encoder`, its vectors are stored; without one, the pixels, for `model.vision`.
    """

    kind: Literal["images"] = Field(description="Kind of features.")
    stream: str = Field("images", pattern=r"^[a-z][a-z0-9_]*$", description="Name of the stream.")
    size: int | None = Field(
        None,
        ge=16,
        description="Side of the square images in pixels. Default: 224, or the size of `encoder`,"
        " which cannot be changed.",
    )
    encoder: HfVisionEncoderConfig | None = Field(
        None,
        description="Image model whose vectors are stored; default: none, so that the pixels are"
        " stored and read by `model.vision`.",
    )
    fit: Literal["crop", "pad"] = Field(
        "crop",
        description="Fit of image files into the square: `crop` cuts out the center, as for videos;"
        " `pad` keeps the whole image, on white.",
    )
    font: str | None = Field(
        None,
        description="TrueType font file with which texts are drawn; default: DejaVu Sans.",
    )
    font_size: int = Field(48, ge=4, description="Height in pixels of the font for drawn texts.")
    invert: bool | None = Field(
        None,
        description="Draw white on black instead of black on white. Default: true for SignWriting,"
        " as in MultimodalHugs, otherwise false.",
    )
    batch: int = Field(16, ge=1, description="Number of images per batch of the `encoder`.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Numeric precision of the `encoder`."
    )

    @model_validator(mode="after")
    def _check_size(self) -> "ImagesFeaturesConfig":
        """Check that `size` is not set beside an `encoder`, whose size is fixed."""
        if self.encoder is not None and self.size is not None:
            raise ValueError("`size` is that of the `encoder`; remove it")
        return self
