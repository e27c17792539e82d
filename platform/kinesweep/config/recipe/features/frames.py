"""Recipe section `features` for decoded frames, which a model reads while it is trained."""

from typing import Literal

from pydantic import Field

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.features.signer_crop import SignerCropConfig


class FramesFeaturesConfig(StrictConfig):
    """The frames of a video as pixels, scaled and resampled as a video model reads them."""

    kind: Literal["frames"] = Field("frames", description="Kind of features: decoded frames.")
    stream: str = Field("video", pattern=r"^[a-z][a-z0-9_]*$", description="Name of the stream.")
    size: int = Field(
        224,
        ge=8,
        le=1024,
        description="Side in pixels of the square center crop that frames are scaled to; that of"
        " the model that reads them.",
    )
    target_fps: float = Field(
        25.0,
        gt=0,
        allow_inf_nan=False,
        description="Frames per second that videos are resampled to.",
    )
    storage: Literal["decoded", "video"] = Field(
        "decoded",
        description="`decoded`: the store holds the pixels, one byte per value whatever"
        " `store.dtype` says (224 pixels at 25 fps: 3.8 MB per second of video). `video`: the store"
        " holds only the number of frames, and every batch decodes the videos again, which must"
        " stay unchanged.",
    )
    crop: SignerCropConfig | None = Field(
        None,
        description="Square around the signer that frames are cropped to; default: the center"
        " square.",
    )

    @property
    def uses_poses(self) -> bool:
        """Return whether poses locate what the model reads."""
        return self.crop is not None and self.crop.detector is None
