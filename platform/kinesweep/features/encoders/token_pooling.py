"""Pooling of the tokens of vision models.

Outputs of the last layer come in, and one vector per image or time step goes out. Class and
register tokens are excluded from the mean: the registers of DINOv2 hold global information, and
these tokens would be 5 of 261 tokens of an image of 224 pixels. The token order of a video model
does not follow from its output shape, so video models that are missing in the table below are
rejected by name.

Shapes: N windows or images, S tokens, K time steps, D width; h rows and w columns of a feature map.
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
        """Pool the outputs of the last layer to one vector per time step, (N, K, D).

        Args:
            states: Tokens (N, S, D), or the feature map (N, D, h, w) of a convolutional model,
                which is averaged for any `pool`.
            pool: `mean` for the mean over the patches of each time step, or `first` for the first
                token, so that K is 1.
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
        arguments: Additional keyword arguments of the forward pass.
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
    """Find the properties of a video model by its type; the result is None for an image model.

    Raises:
        InputError: If the model is a video model with unknown token order, or has a decoder.
    """
    model_type = config.model_type
    is_video = "video" in model_type or any(hasattr(config, name) for name in _VIDEO_FIELDS)
    if model_type not in _VIDEO_MODELS and is_video:
        raise InputError(
            f"{_KEY} is a `{model_type}`, a video model with an unknown token order. Supported are"
            f" {', '.join(f'`{name}`' for name in sorted(_VIDEO_MODELS))} and image models."
        )
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{_KEY} is a `{model_type}`, whose outputs come from a decoder, not from image"
            " patches. Give an encoder such as `dinov2`, `clip`, `siglip`, `vit` or `convnext`."
        )
    return _VIDEO_MODELS.get(model_type)


def get_video_token_layout(config: PreTrainedConfig, video: VideoModelSpec) -> TokenLayout:
    """Return the token layout of a video model.

    Args:
        config: Configuration of the model.
        video: Properties of its type.

    Raises:
        InputError: If the number of frames is not a multiple of the tubelet size.
    """
    num_frames = getattr(config, video.frames_field)
    # The tubelet size is a number of frames, or (frames, rows, columns).
    tubelet_size = getattr(config, "tubelet_size", 1)
    frames_per_tubelet = tubelet_size if isinstance(tubelet_size, int) else tubelet_size[0]
    if num_frames % frames_per_tubelet:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` with {num_frames} frames in tubelets of"
            f" {frames_per_tubelet}; it would ignore the last frames. Give a model with a multiple"
            " of its tubelet size."
        )
    num_time_steps = num_frames // frames_per_tubelet
    return TokenLayout(int(video.has_class), video.has_class, num_time_steps, video.time_last)


def get_image_token_layout(
    config: PreTrainedConfig, shape: tuple[int, ...], size: int
) -> TokenLayout:
    """Return the token layout of an image model, found by its type or the shape of its output.

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
    model_type, num_leading = config.model_type, None
    if len(shape) == 3 and model_type in _NUM_CLASS_TOKENS:
        num_class_tokens = _NUM_CLASS_TOKENS[model_type]
        num_registers = getattr(config, "num_register_tokens", 0)
        return TokenLayout(num_class_tokens + num_registers, num_class_tokens > 0)
    if len(shape) == 3:
        num_leading = _count_non_patch_tokens(shape[1], size, getattr(config, "patch_size", None))
    if num_leading not in (0, 1):
        raise InputError(
            f"{_KEY} is a `{model_type}`, whose output for an image of {size} pixels is"
            f" {tuple(shape[1:])}; it is unknown which of these are patches. Supported are"
            f" {', '.join(f'`{name}`' for name in sorted(_NUM_CLASS_TOKENS))}, and models whose"
            " tokens are"
            " patches with at most one class token in front of them."
        )
    return TokenLayout(num_leading, num_leading == 1)


def _count_non_patch_tokens(
    num_tokens: int, size: int, patch_size: int | list[int] | None
) -> int | None:
    """Count the tokens of an image that are not patches.

    Args:
        num_tokens: Number of tokens of the last layer.
        size: Height and width of the image in pixels.
        patch_size: Height and width of a patch in pixels; None if unknown.

    Returns:
        Number of tokens, or None if it cannot be determined.
    """
    edge = patch_size if isinstance(patch_size, int) or patch_size is None else patch_size[0]
    num_patches = (size // edge) ** 2 if edge else None
    if num_patches is not None and num_patches <= num_tokens:
        return num_tokens - num_patches
    # Models such as Swin merge patches between layers; the remaining ones still form a square.
    for num_other in (0, 1):
        if isqrt(num_tokens - num_other) ** 2 == num_tokens - num_other:
            return num_other
    return None
