"""Recipe section `features.crop`: a square around the signer, cut from the frames of a video.

The signer is found by poses or by a detector of objects. By default a clip has one square: the
union of the boxes of its frames without outliers, enlarged, so that nothing of the movement is lost
and the scale does not change within a clip.
"""

from typing import Annotated, Literal

from pydantic import Field

from kinesweep.config.loading import StrictConfig


class BoxExpansionConfig(StrictConfig):
    """Enlargement of a box: shares of its width or height that are added on each side."""

    left: float = Field(0.1, ge=0, le=10, description="Share of the width added on the left.")
    right: float = Field(0.1, ge=0, le=10, description="Share of the width added on the right.")
    up: float = Field(0.1, ge=0, le=10, description="Share of the height added above.")
    down: float = Field(0.1, ge=0, le=10, description="Share of the height added below.")


class HfDetectorConfig(StrictConfig):
    """A Hugging Face model for object detection (DETR, YOLOS, RT-DETR …)."""

    kind: Literal["hf_detector"] = Field(description="Kind of detector.")
    pretrained: str = Field(description="Local folder or hub id of a pretrained model.")
    labels: tuple[str, ...] = Field(
        ("person",), min_length=1, description="Labels of the model that stand for the signer."
    )
    threshold: float = Field(0.7, ge=0, le=1, description="Least score of a detection.")
    short_side: int = Field(
        # A person fills much of a signing video, so small frames suffice and cost a fraction.
        480,
        ge=16,
        description="Pixels that the shorter side of a frame is scaled to.",
    )
    every_s: float = Field(
        0.5, gt=0, description="Seconds from one frame that the model sees to the next."
    )


class PluginDetectorConfig(StrictConfig):
    """A detector of an installed package (entry-point group `kinesweep.detectors`)."""

    kind: Literal["plugin"] = Field(description="Kind of detector.")
    name: str = Field(pattern=r"^[\w.-]+$", description="Name of the entry point.")
    arguments: dict[str, str | int | float | bool | None] = Field(
        {}, description="Keyword arguments of its class."
    )
    threshold: float = Field(0.0, ge=0, le=1, description="Least score of a detection.")
    every_s: float = Field(
        0.5, gt=0, description="Seconds from one frame that the detector sees to the next."
    )


# Told apart by `kind`, so errors name the keys of one detector only.
DetectorConfig = HfDetectorConfig | PluginDetectorConfig


class SignerCropConfig(StrictConfig):
    """A square around the signer."""

    detector: Annotated[DetectorConfig, Field(discriminator="kind")] | None = Field(
        None, description="Detector that finds the signer; default: the poses of `source.poses`."
    )
    points: Literal["upper_body", "face", "all"] = Field(
        "upper_body",
        description="Points of poses that the box surrounds: all without hips and legs, those of"
        " the face, or all. Points outside of the frame count as at its edge.",
    )
    over_frames: Literal["union", "median", "mean"] = Field(
        # The hands stay in the picture wherever they go in a clip.
        "union",
        description="One box of the boxes of all frames: the `union` without `outliers`, or the"
        " `median` or `mean` of each edge.",
    )
    outliers: float = Field(
        0.05,
        ge=0,
        lt=0.5,
        description="Share of the frames, at each edge, that may reach beyond the union.",
    )
    expand: BoxExpansionConfig = Field(
        BoxExpansionConfig(),
        description="Enlargement of the box, before its shorter side is extended to a square."
        " SSVP-SLT enlarges boxes of faces by `{left: 1.5, right: 1.5, up: 1, down: 3}`.",
    )
    movement: Literal["fixed", "smoothed"] = Field(
        "fixed",
        description="`fixed`: one square per clip; `smoothed`: a square of one size that follows"
        " the signer, whose center is a moving median over `window_s`.",
    )
    window_s: float = Field(
        1.0, gt=0, le=60, description="Seconds of the moving median of `movement: smoothed`."
    )
    outside: Literal["pad", "shift"] = Field(
        "pad",
        description="A square that reaches out of the frame is padded with black, or shifted into"
        " the frame (and reduced to its shorter side if it is larger).",
    )
    min_found: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Least share of the frames looked at in which the signer must be found.",
    )
    missing: Literal["drop", "whole", "center"] = Field(
        "drop",
        description="Clips in which no signer is found: `drop` (counted as `no_signer`), `whole`,"
        " the square that frames have without a crop, or `center`, a square of half that side, as"
        " in SSVP-SLT; the latter two are warnings with their counts.",
    )
