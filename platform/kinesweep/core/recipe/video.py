"""Recipe part `features` for videos: which model sees them, through which windows."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinesweep.core.config import Frozen


class WindowsConfig(Frozen):
    """How a video is cut into the stretches that a model sees at once."""

    num_frames: int = Field(16, ge=1, description="Frames that the model sees at once.")
    sampling_rate: int = Field(
        1, ge=1, description="Every n-th frame of the resampled video is one of them."
    )
    target_fps: float = Field(25.0, gt=0, description="Frames a second that videos are brought to.")
    stride: int | None = Field(
        None,
        ge=1,
        description="Frames of the resampled video from one window to the next; default: a whole"
        " window, `num_frames · sampling_rate`, so that windows do not overlap.",
    )
    overlap: Literal["concat", "average", "crop"] = Field(
        "concat",
        description="What becomes of moments that two windows see: `concat` keeps both, one window"
        " after the other; `average` their mean; `crop` that of the window with more around it.",
    )
    compat: Literal["none", "ssvp"] = Field(
        "none",
        description="`ssvp`: SSVP-SLT's arithmetic on the frames of the file, stride and all; the"
        " rate of features then depends on the file's.",
    )

    @model_validator(mode="after")
    def _windows_touch(self) -> "WindowsConfig":
        if self.step > self.span:
            raise ValueError(
                f"`stride` ({self.step}) is longer than a window ({self.span} frames); what lies"
                " between two windows would never be seen"
            )
        if self.compat == "ssvp" and self.overlap != "concat":
            raise ValueError("`compat: ssvp` keeps all of every window: `overlap` must be `concat`")
        return self

    @property
    def span(self) -> int:
        """Frames of the resampled video that a window reaches over."""
        return self.num_frames * self.sampling_rate

    @property
    def step(self) -> int:
        """`stride`, or a whole window."""
        return self.span if self.stride is None else self.stride


class SignHieraConfig(Frozen):
    """SSVP-SLT's SignHiera (Hiera-Base on 128 frames): [64, 768] a window; weights from a file."""

    kind: Literal["signhiera"] = Field("signhiera", description="Video model.")
    checkpoint: str = Field(
        description="A `.pth` or `.safetensors` file: of MAE pretraining, of a classifier, or with"
        " `from_clip` of CLIP."
    )
    from_clip: bool = Field(False, description="Take the vision tower of a CLIP checkpoint.")


class VisionConfig(Frozen):
    """A Hugging Face model of pictures (DINOv2, CLIP …) or of videos (VideoMAE, ViViT …)."""

    kind: Literal["hf_vision"] = Field("hf_vision", description="Video model.")
    pretrained: str = Field(description="Local folder or hub id of a saved model.")
    pool: Literal["mean", "first"] = Field(
        "mean",
        description="One vector a picture, or a moment of a video model: `mean` of its patches, or"
        " its `first` token (a class token) where it has one.",
    )


CropName = Literal["whole", "face", "left_hand", "right_hand"]
WHOLE: tuple[CropName, ...] = ("whole",)
"""Each frame as it is, which needs no poses."""
VideoEncoderConfig = Annotated[SignHieraConfig | VisionConfig, Field(discriminator="kind")]


class VideoFeaturesConfig(Frozen):
    """Features of a video: its windows through a video model, put together again in time."""

    kind: Literal["video"] = Field("video", description="What is computed from a clip.")
    stream: str = Field("video", pattern=r"^[a-z][a-z0-9_]*$", description="Name of the stream.")
    encoder: VideoEncoderConfig = Field(description="The model that sees the windows.")
    windows: WindowsConfig = Field(WindowsConfig(), description="What it sees at once.")
    crops: tuple[CropName, ...] = Field(
        WHOLE,
        min_length=1,
        description="Parts of each frame that the model sees, each by itself; their features stand"
        " beside each other. All but `whole` need `source.poses`.",
    )
    batch: int = Field(2, ge=1, description="Windows that go through it beside each other.")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Of its arithmetic.")
    gpus: float = Field(
        0, ge=0, description="GPUs of each process that runs the model; 0: it runs on the CPU."
    )
    actors: int | None = Field(
        None, ge=1, description="Such processes on Ray; default: as many as the cluster has room."
    )

    @model_validator(mode="after")
    def _each_crop_once(self) -> "VideoFeaturesConfig":
        if len(set(self.crops)) < len(self.crops):
            raise ValueError(f"`crops` names one twice: {', '.join(self.crops)}")
        return self

    @property
    def cropped(self) -> bool:
        """Whether the model sees more, or less, than frames as they are."""
        return self.crops != WHOLE
