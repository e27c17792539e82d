"""Recipe section `model.vision`: the image or video model that is trained with the translator.

It reads the decoded frames of a stream (`features.kind: frames`) in the same windows as the
extraction of video features, and its vectors pass through the usual encoder of the stream. Frozen,
it gives the features that `features.kind: video` would store; the price of not storing them is a
pass of the model over all frames in every epoch.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from kinesweep.config.kinds import make_kind_getter
from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.model.graph import EncoderLoraConfig
from kinesweep.config.recipe.video import VideoWindowsConfig


class VisionLoraConfig(EncoderLoraConfig):
    """Low-rank adapters, trained beside the frozen weights of the vision model."""

    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear",
        description="Layers with an adapter: `all-linear` for all linear layers, or a list of name"
        " suffixes such as [q_proj, v_proj].",
    )

    @model_validator(mode="after")
    def _check_targets(self) -> "VisionLoraConfig":
        """Check that a list of targets has an element and no empty suffix."""
        if self.targets != "all-linear" and (not self.targets or "" in self.targets):
            raise ValueError("`targets` names no layers; leave it out, or list suffixes of names")
        return self


class _VisionConfig(StrictConfig):
    """Settings shared by all kinds of vision models."""

    kind: str = Field(description="Kind of vision model.")
    scratch: dict[str, Any] | None = Field(
        None, description="Random initialization; excludes `pretrained`."
    )
    pretrained: str | None = Field(None, description="Pretrained weights; excludes `scratch`.")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the weights in `pretrained`; recorded when a run starts.",
    )
    windows: VideoWindowsConfig = Field(
        VideoWindowsConfig(),
        description="Windows of the model; `target_fps` must be that of the frames.",
    )
    batch: int = Field(
        2,
        ge=1,
        description="Windows that pass through the model at once; an image model gets as many"
        " frames as these windows have.",
    )
    freeze: bool = Field(
        False,
        description="Keep the weights as they are, in evaluation mode and without gradients;"
        " `learning_rate` and `gradient_checkpointing` then have no effect.",
    )
    lora: VisionLoraConfig | None = Field(
        None, description="Low-rank adapters, trained instead of the model's own weights."
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Learning rate of the vision model; default: `training.learning_rate`. The"
        " schedule scales both.",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Keep only the frames for the backward pass and compute the activations of each"
        " `batch` again: less memory for a second forward pass.",
    )

    @model_validator(mode="after")
    def _check_origin(self) -> "_VisionConfig":
        """Check that exactly one of `pretrained` and `scratch` is set."""
        # An empty mapping `scratch` counts as given.
        if (self.pretrained is None) == (self.scratch is None):
            raise ValueError("give either `pretrained` or `scratch`")
        return self

    @model_validator(mode="after")
    def _check_windows(self) -> "_VisionConfig":
        """Check that the windows are those of resampled frames."""
        if self.windows.compat != "none":
            raise ValueError(
                f"`windows.compat: {self.windows.compat}` counts frames of the video file, but"
                " frames are stored at `features.target_fps`; use `compat: none`"
            )
        return self

    @model_validator(mode="after")
    def _check_frozen(self) -> "_VisionConfig":
        """Check that the model has no adapters if it is frozen."""
        if self.freeze and self.lora is not None:
            raise ValueError(
                "`freeze` would freeze the adapters of `lora` too; everything but the adapters is"
                " frozen anyway: set one of them"
            )
        return self

    @property
    def pretrained_or_empty(self) -> str:
        """Return `pretrained`, or an empty text without it."""
        return self.pretrained or ""


class HfVisionConfig(_VisionConfig):
    """A Hugging Face model for images (CLIP, DINOv2 …) or videos (VideoMAE, ViViT …)."""

    kind: Literal["hf"] = Field("hf", description="Kind of vision model.")
    pretrained: str | None = Field(
        None, description="Local folder or hub id of a pretrained model; excludes `scratch`."
    )
    scratch: dict[str, Any] | None = Field(
        None,
        description="Random initialization: `model_type` (a Hugging Face model type such as"
        " `clip_vision_model`, `dinov2`, `videomae`) and any key of its configuration. Pixels are"
        " normalized to the range from -1 to 1.",
    )
    pool: Literal["mean", "first"] = Field(
        "mean",
        description="Pooling into one vector per image, or per time step of a video model: the"
        " `mean` of the patches, or the `first` token (class token) if the model has one.",
    )

    @model_validator(mode="after")
    def _check_model_type(self) -> "HfVisionConfig":
        """Check that `scratch` names a model type."""
        if self.scratch is not None and not isinstance(self.scratch.get("model_type"), str):
            raise ValueError("`scratch` needs `model_type`, for example `clip_vision_model`")
        return self


class SignHieraVisionConfig(_VisionConfig):
    """SSVP-SLT's SignHiera, which gives a vector for every two frames of a window."""

    kind: Literal["signhiera"] = Field("signhiera", description="Kind of vision model.")
    pretrained: str | None = Field(
        None,
        description="Weights of Hiera-Base on 128 frames, a `.pth` or `.safetensors` file from MAE"
        " pretraining, from a classifier, or from CLIP (with `from_clip`); excludes `scratch`.",
    )
    from_clip: bool = Field(False, description="Use the vision tower of a CLIP checkpoint.")
    scratch: dict[str, Any] | None = Field(
        None,
        description="Random initialization: any of `max_frames`, `size`, `first_stage_width`,"
        " `first_stage_heads`, `stage_depths`, `num_local_stages`; default: Hiera-Base on 128"
        " frames of 224 pixels.",
    )

    @model_validator(mode="after")
    def _check_checkpoint(self) -> "SignHieraVisionConfig":
        """Check that `from_clip` has a checkpoint to describe."""
        if self.from_clip and self.pretrained is None:
            raise ValueError("`from_clip` describes `pretrained`; a model from scratch has none")
        return self


# A callable discriminator lets `kind` be omitted; pydantic's own would require it in the input.
VisionConfig = Annotated[
    Annotated[HfVisionConfig, Tag("hf")] | Annotated[SignHieraVisionConfig, Tag("signhiera")],
    Discriminator(make_kind_getter("hf")),
]
AnyVision = HfVisionConfig | SignHieraVisionConfig

# Settings without an effect on a frozen model.
_TRAINING_SETTINGS = ("learning_rate", "gradient_checkpointing")


def normalize_hashed_vision(model: dict[str, Any]) -> None:
    """Normalize `model.vision` for the hash of a configuration: what does the same hashes the same.

    An unset section is removed, and so are the settings that do not matter for a frozen model.

    Args:
        model: Plain values of the section `model`, modified in place.
    """
    vision = model.get("vision")
    if vision is None:
        model.pop("vision", None)
    # Two frozen models that differ only in these compute the same vectors.
    elif vision["freeze"]:
        for key in _TRAINING_SETTINGS:
            del vision[key]
