"""Which outputs of a vision model are patches, of which moment, and which one stands for all.

States of the last layer come in, one vector a picture or a moment goes out. Class and register
tokens are no patches: DINOv2's registers collect what belongs to no place, and would weigh 5 in 261
in a mean over all tokens of a picture of 224 pixels. The order of a video model's tokens cannot be
seen in its shapes, so those that are not in the table below are refused by name.

Shapes: N windows or pictures, S tokens, K moments, D width.
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
    """The order of tokens.

    Attributes:
        leading: class and register tokens before the patches.
        has_class: the first of them stands for the whole picture or window.
        moments: K of the patches; 1 for a picture.
        moments_last: tokens go by patch, and of each patch by moment; else the other way round.
    """

    leading: int = 0
    has_class: bool = False
    moments: int = 1
    moments_last: bool = False

    def __call__(self, states: Tensor, pool: Pool) -> Tensor:
        """(N, S, D), or (N, D, h, w) of a convolutional model → (N, K, D); K is 1 for `first`."""
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
    """A kind of video model.

    Attributes:
        frames: field of its configuration: frames that it sees at once.
        size: likewise: H and W.
        has_class: a class token comes first.
        moments_last: as in `Tokens`.
        arguments: of its forward pass.
    """

    frames: str = "num_frames"
    size: str = "image_size"
    has_class: bool = False
    moments_last: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)


_VIDEOS = {
    "timesformer": Video(has_class=True, moments_last=True),
    "videomae": Video(),
    "vivit": Video(has_class=True),
    "vjepa2": Video("frames_per_clip", "crop_size", arguments={"skip_predictor": True}),
}
_OF_VIDEOS = {"num_frames", "frames_per_clip", "tubelet_size", "temporal_patch_size"}
"""Fields that only models with time in them have."""
_CLASSES = {
    "beit": 1,
    "chinese_clip_vision_model": 1,
    "clip_vision_model": 1,
    "data2vec-vision": 1,
    "deit": 2,  # the second is of distillation
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
"""Kind of picture model → tokens before the registers, if any, and the patches."""


def video_kind(config: PreTrainedConfig) -> Video | None:
    """What is known of a video model; None for a model of pictures.

    Raises:
        InputError: a model whose tokens are not known.
    """
    kind = config.model_type
    timed = "video" in kind or any(hasattr(config, name) for name in _OF_VIDEOS)
    if kind not in _VIDEOS and timed:
        raise InputError(
            f"{_KEY} is a `{kind}`, a video model whose order of tokens is not known here. Known"
            f" are {', '.join(f'`{name}`' for name in sorted(_VIDEOS))}, and models of pictures."
        )
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{_KEY} is a `{kind}`, whose outputs are of a decoder, not of places in a picture."
            " Give an encoder such as `dinov2`, `clip`, `siglip`, `vit` or `convnext`."
        )
    return _VIDEOS.get(kind)


def video_tokens(config: PreTrainedConfig, video: Video) -> Tokens:
    """The order of a video model's tokens.

    Raises:
        InputError: frames that its tubelets do not fill.
    """
    frames, tubelet = getattr(config, video.frames), getattr(config, "tubelet_size", 1)
    tubelet = tubelet if isinstance(tubelet, int) else tubelet[0]
    if frames % tubelet:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` of {frames} frames in tubelets of {tubelet}; the"
            " last frames would never be seen. Give one whose tubelets fill its frames."
        )
    return Tokens(int(video.has_class), video.has_class, frames // tubelet, video.moments_last)


def picture_tokens(config: PreTrainedConfig, shape: tuple[int, ...], size: int) -> Tokens:
    """The order of a picture model's tokens: by its kind, else by what a picture came out as.

    Args:
        config: of the model.
        shape: of its last states, (N, S, D) or (N, D, h, w).
        size: H and W of the picture.

    Raises:
        InputError: a shape that leaves open which outputs are patches.
    """
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
            f"{_KEY} is a `{kind}`, which makes {tuple(shape[1:])} of a picture of {size} pixels;"
            " which of these are patches is not known here. Known are"
            f" {', '.join(f'`{name}`' for name in sorted(_CLASSES))}, and models whose tokens are"
            " patches with at most one class token before them."
        )
    return Tokens(leading, leading == 1)


def _surplus(tokens: int, size: int, patch: int | list[int] | None) -> int | None:
    """Tokens that are no patches; None where that is open."""
    edge = patch if isinstance(patch, int) or patch is None else patch[0]
    patches = (size // edge) ** 2 if edge else None
    if patches is not None and patches <= tokens:
        return tokens - patches
    # Patches were merged on the way, as Swin does: what is left is still a square.
    return next((more for more in (0, 1) if isqrt(tokens - more) ** 2 == tokens - more), None)
