"""Recipe part `features.reference`: which frame of a reference belongs to which of a clip."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.core.config import Frozen

GAMMA = 0.01
"""Of the mean squared distance; a frame of boxing is then matched with 1.7, at 0.1 with 5.4."""


class AlignmentConfig(Frozen):
    """A clip's reference, brought to the clip's frames as a stream of its own."""

    method: Literal["window", "dtw", "soft_dtw", "none"] = Field(
        "dtw",
        description="`window`: as it is, shifted to where it fits best; `dtw`: warped in time;"
        " `soft_dtw`: the mean over all warpings, weighted; `none`: stretched evenly.",
    )
    on: Literal["joints", "embeddings"] = Field(
        "joints",
        description="What is compared: the normalised `joints`, or `embeddings` of the frames.",
    )
    embedder: str | None = Field(
        None,
        min_length=1,
        description="Folder that `kinesweep embed` wrote, for `on: embeddings`; trained on clips"
        " that are normalised alike.",
    )
    gamma: float | None = Field(
        None,
        gt=0,
        description="How soft `soft_dtw` is, as a share of the mean squared distance between the"
        f" frames of a clip and its reference; default: {GAMMA}.",
    )

    @model_validator(mode="after")
    def _parts_belong_together(self) -> "AlignmentConfig":
        if (self.embedder is not None) != (self.on == "embeddings"):
            raise ValueError("`embedder` and `on: embeddings` belong together")
        if self.method == "none" and self.on == "embeddings":
            raise ValueError("`method: none` compares nothing; leave `on` and `embedder` out")
        if self.gamma is not None and self.method != "soft_dtw":
            raise ValueError(f"`gamma` belongs to `method: soft_dtw`, not to `{self.method}`")
        return self
