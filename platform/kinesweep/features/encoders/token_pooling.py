"""Pooling of the tokens of vision models.

Outputs of the last layer come in, and one vector per image or time step goes out. Class and
register tokens are excluded from the mean: the registers of DINOv2 hold global information, and
these tokens would be 5 of 261 tokens of an image of 224 pixels. The token order of a video model
does not follow from its output shape, so video models that are missing in the table below are
rejected by name.

Shapes: N windows or images, S tokens, K time steps, D width.
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
class TokenLayout:
    """The layout of a model's output tokens; calling it pools the tokens.

    Attributes:
        num_leading_tokens: Number of class and register tokens before the patches.
        has_class: Whether the first token represents the whole image or window.
        num_time_steps: Number of time steps of the patches, K; 1 for an image.
        time_last: Whether tokens are sorted by patch and then by time step; otherwise they are
            sorted by time step and then by patch.
    """

    num_leading_tokens: int = 0
    has_class: bool = False
    num_time_steps: int = 1
    time_last: bool = False

    def __call__(self, states: Tensor, pool: Pool) -> Tensor:
        """Pool tokens (N, S, D), or (N, D, h, w) of a convolutional model, to (N, K, D).

        K is 1 if `pool` is `first`.
        """
        if states.ndim == 4:
            return states.flatten(2).mean(2)[:, None]
        if pool == "first":
            return states[:, :1]
        patches = states[:, self.num_leading_tokens :]
        if self.time_last:
            return patches.unflatten(1, (-1, self.num_time_steps)).mean(1)
        return patches.unflatten(1, (self.num_time_steps, -1)).mean(2)


@dataclass(frozen=True)
class VideoModelSpec:
    """The properties of a type of video model.

    Attributes:
        frames_field: Name of the configuration field with the number of frames of a window.
        size_field: Name of the configuration field with the height and width in pixels.
        has_class: Whether a class token comes first.
        time_last: Order of the patches, as in `TokenLayout`.
        arguments: Additional arguments of the forward pass.
    """

    frames_field: str = "num_frames"
    size_field: str = "image_size"
    has_class: bool = False
    time_last: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)


# Supported video models by model type.
_VIDEO_MODELS = {
    "timesformer": VideoModelSpec(has_class=True, time_last=True),
    "videomae": VideoModelSpec(),
    "vivit": VideoModelSpec(has_class=True),
    "vjepa2": VideoModelSpec("frames_per_clip", "crop_size", arguments={"skip_predictor": True}),
}
# Configuration fields that only video models have; they reveal types missing in the table above.
_VIDEO_FIELDS = {"num_frames", "frames_per_clip", "tubelet_size", "temporal_patch_size"}
# Type of image model → number of tokens in front of the registers (if any) and the patches.
_NUM_CLASS_TOKENS = {
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


def find_video_model_spec(config: PreTrainedConfig) -> VideoModelSpec | None:
    """Find the properties of a video model by its type; None for an image model.

    Raises:
        InputError: If the model is a video model with unknown token order, or has a decoder.
    """
    kind = config.model_type
    is_video = "video" in kind or any(hasattr(config, name) for name in _VIDEO_FIELDS)
    if kind not in _VIDEO_MODELS and is_video:
        raise InputError(
            f"{_KEY} is a `{kind}`, a video model with an unknown token order. Supported are"
            f" {', '.join(f'`{name}`' for name in sorted(_VIDEO_MODELS))} and image models."
        )
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{_KEY} is a `{kind}`, whose outputs come from a decoder, not from image patches."
            " Give an encoder such as `dinov2`, `clip`, `siglip`, `vit` or `convnext`."
        )
    return _VIDEO_MODELS.get(kind)


def get_video_token_layout(config: PreTrainedConfig, video: VideoModelSpec) -> TokenLayout:
    """Return the token layout of a video model.

    Raises:
        InputError: If the number of frames is not a multiple of the tubelet size.
    """
    frames, tubelet = getattr(config, video.frames_field), getattr(config, "tubelet_size", 1)
    tubelet = tubelet if isinstance(tubelet, int) else tubelet[0]
    if frames % tubelet:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` with {frames} frames in tubelets of {tubelet}; it"
            " would ignore the last frames. Give a model with a multiple of its tubelet size."
        )
    return TokenLayout(int(video.has_class), video.has_class, frames // tubelet, video.time_last)


def get_image_token_layout(
    config: PreTrainedConfig, shape: tuple[int, ...], size: int
) -> TokenLayout:
    """Return the token layout of an image model by its type, else by the shape of its output.

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
        return TokenLayout()
    kind, leading = config.model_type, None
    if len(shape) == 3 and kind in _NUM_CLASS_TOKENS:
        registers = getattr(config, "num_register_tokens", 0)
        return TokenLayout(_NUM_CLASS_TOKENS[kind] + registers, _NUM_CLASS_TOKENS[kind] > 0)
    if len(shape) == 3:
        leading = _count_non_patch_tokens(shape[1], size, getattr(config, "patch_size", None))
    if leading not in (0, 1):
        raise InputError(
            f"{_KEY} is a `{kind}`, whose output for an image of {size} pixels is"
            f" {tuple(shape[1:])}; it is unknown which of these are patches. Supported are"
            f" {', '.join(f'`{name}`' for name in sorted(_NUM_CLASS_TOKENS))}, and models whose"
            " tokens are"
            " patches with at most one class token in front of them."
        )
    return TokenLayout(leading, leading == 1)


def _count_non_patch_tokens(tokens: int, size: int, patch: int | list[int] | None) -> int | None:
    """Count the tokens that are not patches; None if the number cannot be determined."""
    edge = patch if isinstance(patch, int) or patch is None else patch[0]
    patches = (size // edge) ** 2 if edge else None
    if patches is not None and patches <= tokens:
        return tokens - patches
    # Models such as Swin merge patches between layers; the remaining ones still form a square.
    return next((extra for extra in (0, 1) if isqrt(tokens - extra) ** 2 == tokens - extra), None)
