"""Pooling of the tokens of vision models.

Outputs of the last layer come in, and one vector per image or moment goes out. Class and register
tokens are excluded from the mean: the registers of DINOv2 hold global information, and these tokens
would be 5 of 261 tokens of an image of 224 pixels. The token order of a video model does not follow
from its output shape, so video models that are missing in the table below are rejected by name.

Shapes: N windows or images, S tokens, K moments, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedConfig

from kinesweep.core.errors import InputError

Pool = Literal["mean", "first"]
_KEY = "`features.encoder.pretrained`"


@dataclass(frozen=True)
class Tokens:
    """The order of the tokens of a model.

    Attributes:
        leading: Number of class and register tokens before the patches.
        has_class: Whether the first token represents the whole image or window.
        moments: Number of moments of the patches, K; 1 for an image.
        moments_last: Whether tokens are sorted by patch and then by moment; otherwise they are
            sorted by moment and then by patch.
    """

    leading: int = 0
    has_class: bool = False
    moments: int = 1
    moments_last: bool = False

    def __call__(self, states: Tensor, pool: Pool) -> Tensor:
        """Pool (N, S, D), or (N, D, h, w) of a convolutional model, to (N, K, D).

        K is 1 if `pool` is `first`.
        """
        if states.ndim == 4:
            return states.flatten(2).mean(2)[:, None]
        if pool == "first":
            return states[:, :1]
        patches = states[:, self.leading :]
        if self.moments_last:
            return patches.unflatten(1, (-1, self.moments)).mean(1)
        return patches.unflatten(1, (self.moments, -1)).mean(2)


@dataclass(frozen=True)
class Video:
    """The properties of a type of video model.

    Attributes:
        frames: Name of the configuration field with the number of frames of a window.
        size: Name of the configuration field with the height and width in pixels.
        has_class: Whether a class token comes first.
        moments_last: Order of the patches, as in `Tokens`.
        arguments: Additional arguments of the forward pass.
    """

    frames: str = "num_frames"
    size: str = "image_size"
    has_class: bool = False
    moments_last: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)


# Supported video models by model type.
_VIDEOS = {
    "timesformer": Video(has_class=True, moments_last=True),
    "videomae": Video(),
    "vivit": Video(has_class=True),
    "vjepa2": Video("frames_per_clip", "crop_size", arguments={"skip_predictor": True}),
}
# Configuration fields that only video models have; they reveal types missing in the table above.
_OF_VIDEOS = {"num_frames", "frames_per_clip", "tubelet_size", "temporal_patch_size"}
# Type of image model → number of tokens in front of the registers (if any) and the patches.
_CLASSES = {
    "beit": 1,
    "chinese_clip_vision_model": 1,
    "clip_vision_model": 1,
    "data2vec-vision": 1,
    "deit": 2,  # the second one is the distillation token
    "dinov2": 1,
    "dinov2_with_registers": 1,
    "dinov3_convnext": 1,
    "dinov3_vit": 1,
    "ijepa": 0,
    "metaclip_2_vision_model": 1,
    "mlcd_vision_model": 1,
    "siglip_vision_model": 0,
    "vit": 1,
    "vit_msn": 1,
}


def video_kind(config: PreTrainedConfig) -> Video | None:
    """Return the properties of a video model, or None for an image model.

    Raises:
        InputError: If the model is a video model with unknown token order, or has a decoder.
    """
    kind = config.model_type
    timed = "video" in kind or any(hasattr(config, name) for name in _OF_VIDEOS)
    if kind not in _VIDEOS and timed:
        raise InputError(
            f"{_KEY} is a `{kind}`, a video model with an unknown token order. Supported are"
            f" {', '.join(f'`{name}`' for name in sorted(_VIDEOS))} and image models."
        )
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{_KEY} is a `{kind}`, whose outputs come from a decoder, not from image patches."
            " Give an encoder such as `dinov2`, `clip`, `siglip`, `vit` or `convnext`."
        )
    return _VIDEOS.get(kind)


def video_tokens(config: PreTrainedConfig, video: Video) -> Tokens:
    """Return the token order of a video model.

    Raises:
        InputError: If the number of frames is not a multiple of the tubelet size.
    """
    frames, tubelet = getattr(config, video.frames), getattr(config, "tubelet_size", 1)
    tubelet = tubelet if isinstance(tubelet, int) else tubelet[0]
    if frames % tubelet:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` with {frames} frames in tubelets of {tubelet}; it"
            " would ignore the last frames. Give a model with a multiple of its tubelet size."
        )
    return Tokens(int(video.has_class), video.has_class, frames // tubelet, video.moments_last)


def picture_tokens(config: PreTrainedConfig, shape: tuple[int, ...], size: int) -> Tokens:
    """Return the token order of an image model by its type, else by the shape of its output.

    Args:
        config: Configuration of the model.
        shape: Shape of the output of the last layer, (N, S, D) or (N, D, h, w).
        size: Height and width of the image in pixels.

    Raises:
        InputError: If the shape does not show which outputs are patches.
    """
    # A convolutional model: the feature map must be square, and its side must differ from D so
    # that channels cannot be confused with rows.
    if len(shape) == 4 and shape[2] == shape[3] != shape[1]:
        return Tokens()
    kind, leading = config.model_type, None
    if len(shape) == 3 and kind in _CLASSES:
        registers = getattr(config, "num_register_tokens", 0)
        return Tokens(_CLASSES[kind] + registers, _CLASSES[kind] > 0)
    if len(shape) == 3:
        leading = _surplus(shape[1], size, getattr(config, "patch_size", None))
    if leading not in (0, 1):
        raise InputError(
            f"{_KEY} is a `{kind}`, whose output for an image of {size} pixels is"
            f" {tuple(shape[1:])}; it is unknown which of these are patches. Supported are"
            f" {', '.join(f'`{name}`' for name in sorted(_CLASSES))}, and models whose tokens are"
            " patches with at most one class token in front of them."
        )
    return Tokens(leading, leading == 1)


def _surplus(tokens: int, size: int, patch: int | list[int] | None) -> int | None:
    """Return the number of tokens that are not patches, or None if it cannot be determined."""
    edge = patch if isinstance(patch, int) or patch is None else patch[0]
    patches = (size // edge) ** 2 if edge else None
    if patches is not None and patches <= tokens:
        return tokens - patches
    # Models such as Swin merge patches between layers; the remaining ones still form a square.
    return next((more for more in (0, 1) if isqrt(tokens - more) ** 2 == tokens - more), None)
