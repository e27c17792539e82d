"""Recipe section `features.reference`: alignment of a reference motion with a clip's frames."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig

DEFAULT_GAMMA = 0.01
"""Default `gamma`: on boxing clips, a frame then matches 1.7 reference frames (5.4 with 0.1)."""
POSITIONAL_METHODS = ("given", "first_frame")
"""Methods that align frames by their positions, whatever they show."""


class AlignmentConfig(StrictConfig):
    """Alignment of a clip's reference motion with its frames; the result is stored as a stream."""

    method: Literal["window", "dtw", "soft_dtw", "none", "given", "first_frame"] = Field(
        "dtw",
        description="Alignment of the reference with the clip. `window`: unwarped, shifted to the"
        " best position; `dtw`: dynamic time warping; `soft_dtw`: weighted mean over all warping"
        " paths; `none`: linear stretching; `given`: unchanged, frame by frame, for references"
        " whose spans were aligned before (`reference_start` in a table), which must be as long as"
        " their clips; `first_frame`: the clip's own first frame, held, whatever its reference.",
    )
    on: Literal["joints", "embeddings"] = Field(
        "joints",
        description="Frame representation that is compared: the normalized `joints`, or"
        " `embeddings` of the frames.",
    )
    embedder: str | None = Field(
        None,
        min_length=1,
        description="Folder written by `kinesweep train-embedder`, for `on: embeddings`; it must"
        " have been trained on clips with the same normalization.",
    )
    gamma: float | None = Field(
        None,
        gt=0,
        description="Smoothing of `soft_dtw`, as a share of the mean squared distance between the"
        f" frames of a clip and its reference; default: {DEFAULT_GAMMA}.",
    )

    @model_validator(mode="after")
    def _check_method_settings(self) -> "AlignmentConfig":
        """Check that `embedder` and `gamma` are set only where they have an effect.

        `embedder` is required for `on: embeddings`, which excludes methods that compare nothing;
        `gamma` belongs to `method: soft_dtw`.
        """
        # A setting without effect is an error, because a sweep over it would change nothing.
        if (self.embedder is not None) != (self.on == "embeddings"):
            raise ValueError("`embedder` and `on: embeddings` belong together")
        if self.method in ("none", *POSITIONAL_METHODS) and self.on == "embeddings":
            raise ValueError(
                f"`method: {self.method}` compares nothing; leave `on` and `embedder` out"
            )
        if self.gamma is not None and self.method != "soft_dtw":
            raise ValueError(f"`gamma` belongs to `method: soft_dtw`, not to `{self.method}`")
        return self
