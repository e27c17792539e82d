"""Recipe section `features` for videos: the video model and the windows that it reads."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.features.pixel_augmentation import PixelAugmentationConfig


class VideoWindowsConfig(StrictConfig):
    """Division of a video into windows for the video model."""

    num_frames: int = Field(16, ge=1, description="Number of frames per window.")
    sampling_rate: int = Field(
        1, ge=1, description="Use every n-th frame of the resampled video in a window."
    )
    target_fps: float = Field(
        25.0, gt=0, description="Frames per second that videos are resampled to."
    )
    stride: int | None = Field(
        None,
        ge=1,
        description="Frames of the resampled video between the starts of two windows; default: a"
        " whole window, `num_frames · sampling_rate`, so that windows do not overlap.",
    )
    overlap: Literal["concat", "average", "crop"] = Field(
        "concat",
        description="Features of moments that two windows cover: `concat` keeps both, one window"
        " after the other; `average` averages them; `crop` keeps those of the window with more"
        " surrounding frames.",
    )
    compat: Literal["none", "ssvp"] = Field(
        "none",
        description="`ssvp`: SSVP-SLT's published windowing on the frames of the file, including"
        " its stride; the feature rate then depends on the file's frame rate.",
    )

    @model_validator(mode="after")
    def _check_windows(self) -> "VideoWindowsConfig":
        """Check that windows leave no gap, and that `overlap` is `concat` for `compat: ssvp`."""
        # Equality is allowed: the windows then touch without an overlap.
        if self.effective_stride > self.num_spanned_frames:
            raise ValueError(
                f"`stride` ({self.effective_stride}) is longer than a window"
                f" ({self.num_spanned_frames} frames); the frames"
                " between two windows would never be seen"
            )
        if self.compat == "ssvp" and self.overlap != "concat":
            raise ValueError("`compat: ssvp` keeps every window whole: `overlap` must be `concat`")
        return self

    @property
    def num_spanned_frames(self) -> int:
        """Return the number of frames that a window spans at the rate `target_fps`.

        They are frames of the resampled video. With `compat: ssvp`, the video is not resampled, and
        a window spans as much time in frames of the file.
        """
        return self.num_frames * self.sampling_rate

    @property
    def effective_stride(self) -> int:
        """Return the number of frames between the starts of two windows.

        It is `stride`, by default the number of frames that a window spans. Frames are those of the
        resampled video, or with `compat: ssvp` those of the file.
        """
        return self.num_spanned_frames if self.stride is None else self.stride


class SignHieraEncoderConfig(StrictConfig):
    """SSVP-SLT's SignHiera (Hiera-Base on 128 frames), which gives (64, 768) values per window."""

    kind: Literal["signhiera"] = Field("signhiera", description="Kind of video model.")
    checkpoint: str = Field(
        description="Weights, a `.pth` or `.safetensors` file from MAE pretraining, from a"
        " classifier, or from CLIP (with `from_clip`)."
    )
    from_clip: bool = Field(False, description="Use the vision tower of a CLIP checkpoint.")


class HfVisionEncoderConfig(StrictConfig):
    """A Hugging Face model for images (DINOv2, CLIP …) or videos (VideoMAE, ViViT …)."""

    kind: Literal["hf_vision"] = Field("hf_vision", description="Kind of video model.")
    pretrained: str = Field(description="Local folder or hub id of a pretrained model.")
    pool: Literal["mean", "first"] = Field(
        "mean",
        description="Pooling into one vector per image, or per time step of a video model: the"
        " `mean` of the patches, or the `first` token (class token) if the model has one.",
    )


CropName = Literal["whole", "face", "left_hand", "right_hand"]
WHOLE_FRAME_CROP: tuple[CropName, ...] = ("whole",)
"""The default crop, the uncropped frame, which needs no poses."""
VideoEncoderConfig = Annotated[
    SignHieraEncoderConfig | HfVisionEncoderConfig, Field(discriminator="kind")
]


class VideoFeaturesConfig(StrictConfig):
    """Video features: the outputs of a video model on windows, reassembled in time."""

    kind: Literal["video"] = Field("video", description="Kind of features.")
    stream: str = Field("video", pattern=r"^[a-z][a-z0-9_]*$", description="Name of the stream.")
    encoder: VideoEncoderConfig = Field(description="The video model.")
    windows: VideoWindowsConfig = Field(
        VideoWindowsConfig(), description="Windows of the video model."
    )
    crops: tuple[CropName, ...] = Field(
        WHOLE_FRAME_CROP,
        min_length=1,
        description="Crops of each frame, encoded separately; their features are concatenated. All"
        " except `whole` need `source.poses`.",
    )
    batch: int = Field(2, ge=1, description="Number of windows per batch of the model.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Numeric precision of the video model; its weights stay fp32."
    )
    augmentation: PixelAugmentationConfig | None = Field(
        None,
        description="Random augmentation of the pixels of training clips; `{}` is SSVP-SLT's."
        " Other splits are not augmented. Default: none.",
    )
    epochs: int = Field(
        1,
        ge=1,
        description="Number of times that each training clip is extracted, with another random"
        " augmentation each time. Training reads them in turn, one per epoch.",
    )
    gpus: float = Field(
        0, ge=0, description="GPUs per process that runs the model; 0 runs it on the CPU."
    )
    actors: int | None = Field(
        None,
        ge=1,
        description="Number of Ray actors that run the model; default: as many as fit on the"
        " cluster.",
    )

    @model_validator(mode="after")
    def _check_crops_once(self) -> "VideoFeaturesConfig":
        """Check that no crop is listed twice."""
        if len(set(self.crops)) < len(self.crops):
            raise ValueError(f"`crops` lists a crop twice: {', '.join(self.crops)}")
        return self

    @model_validator(mode="after")
    def _check_epochs_differ(self) -> "VideoFeaturesConfig":
        """Check that several epochs are augmented, because they would be equal otherwise."""
        if self.epochs > 1 and self.augmentation is None:
            raise ValueError(
                f"`epochs` is {self.epochs}, but without `augmentation` all epochs would be equal;"
                " set `augmentation: {}` for SSVP-SLT's augmentation"
            )
        return self

    @property
    def has_body_crops(self) -> bool:
        """Return whether the model reads anything but whole frames, such as crops of the hands."""
        return self.crops != WHOLE_FRAME_CROP


class VideoEpochConfig(VideoFeaturesConfig):
    """Augmented video features of one epoch of train, as `feature_epochs` derives them.

    Recipes cannot contain it: `VideoFeaturesConfig` describes all epochs.
    """

    epoch: int = Field(ge=0, description="Index of the epoch, which selects the random numbers.")
