"""Features of a Hugging Face vision model: of each frame by itself, or of a video model's moments.

Windows of uint8 pixels go in, float32 vectors on the CPU come out: pooled states of the model's
last layer, as `last_hidden_state` has them (CLIP's come before its last norm). With pictures every
frame is a moment (K = F), and neither neighbours nor padding can reach it. Video models see their
window as a whole, the repeated last frames that pad it among it: moments near the end of a short
clip have seen them. All B·F frames go through at once, because the caller's batches have one shape.

Shapes: B windows, F frames of a window, H = W pixels, C = 3, N = B·F, K moments, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.video import VisionConfig
from kinesweep.features.encoders.pixels import Pixels, read_pixels
from kinesweep.features.encoders.saved_vision import line, read_config, read_weights
from kinesweep.features.encoders.vision_tokens import (
    Pool,
    picture_tokens,
    video_kind,
    video_tokens,
)

_KEY = "`features.encoder.pretrained`"


class VisionEncoder:
    """A `VideoEncoder`; see there.

    Args:
        model: with its weights.
        pixels: how they are normalised.
        pool: what becomes of its tokens.
        precision: `fp32`, or `bf16` (autocast).
        device: where it runs.

    Raises:
        InputError: a model that does not take such pictures, or whose tokens are not known.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pixels: Pixels,
        pool: Pool,
        precision: str,
        device: torch.device | str,
    ) -> None:
        self._device = torch.device(device)
        self._model = model.to(self._device).eval()
        self._pixels, self._pool, self._bf16 = pixels, pool, precision == "bf16"
        self._video = video_kind(model.config)
        self.size = _size(model.config, pixels, self._video.size if self._video else "image_size")
        shape = self._try()
        if self._video is None:
            self._tokens = picture_tokens(model.config, shape, self.size)
        else:
            self._tokens = video_tokens(model.config, self._video)
        if pool == "first" and not self._tokens.has_class:
            raise InputError(
                f"`features.encoder.pool` is `first`, but a `{model.config.model_type}` has no"
                " class token. Set it to `mean`."
            )
        self.width = shape[1] if len(shape) == 4 else shape[2]

    @classmethod
    def from_config(
        cls, config: VisionConfig, precision: str, device: torch.device | str
    ) -> "VisionEncoder":
        """A saved model.

        Args:
            config: which, and how its tokens are pooled.
            precision: `fp32` or `bf16`.
            device: where it runs.

        Raises:
            InputError: no such model, one that cannot be used, or no preprocessor file beside it.
            CheckpointError: weights that miss or do not fit.
        """
        tower = read_config(config.pretrained)
        video_kind(tower)  # before gigabytes are read
        pixels = read_pixels(config.pretrained)
        model = read_weights(config.pretrained, tower)
        return cls(model, pixels, config.pool, precision, device)

    def moments(self, num_frames: int) -> int:
        """K: every frame of a picture model; a video model's own, or 1 for its class token.

        Raises:
            InputError: a video model that sees another number of frames.
        """
        if self._video is None:
            return num_frames
        own = self._frames
        if num_frames != own:
            raise InputError(
                f"`features.windows.num_frames` is {num_frames}, but this"
                f" `{self._model.config.model_type}` sees {own} frames at once. Set it to {own}."
            )
        return 1 if self._pool == "first" else self._tokens.moments

    def __call__(self, pixels_BFHWC: Tensor, kept_B: Sequence[int]) -> Tensor:
        """Features, float32 (B, K, D), on the CPU.

        Args:
            pixels_BFHWC: uint8 RGB.
            kept_B: real frames of each window. Not looked at: frames are apart in a picture model,
                and a video model has no mask for those that pad.
        """
        num_windows, num_frames = pixels_BFHWC.shape[:2]
        moments = self.moments(num_frames)
        pooled = self._tokens(self._states(pixels_BFHWC), self._pool)
        return pooled.reshape(num_windows, moments, self.width).cpu()

    @property
    def _frames(self) -> int:
        """That a video model sees at once."""
        assert self._video is not None
        return int(getattr(self._model.config, self._video.frames))

    def _states(self, pixels_BFHWC: Tensor) -> Tensor:
        """Of the last layer, float32: of N pictures, or of B windows."""
        inputs = self._pixels(pixels_BFHWC.flatten(0, 1), self._device)
        arguments: dict[str, Any] = {}
        if self._video is not None:
            inputs = inputs.unflatten(0, pixels_BFHWC.shape[:2])
            arguments.update(self._video.arguments)
        arguments[self._model.main_input_name] = inputs
        autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16)
        with torch.inference_mode(), autocast:
            return self._model(**arguments).last_hidden_state.float()

    def _try(self) -> tuple[int, ...]:
        """The shape of the states of one black picture or window."""
        frames = 1 if self._video is None else self._frames
        black = torch.zeros(1, frames, self.size, self.size, 3, dtype=torch.uint8)
        try:
            shape = tuple(self._states(black).shape)
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{_KEY} is a `{self._model.config.model_type}` that cannot look at pictures of"
                f" {self.size} pixels alone: {line(error)}. Its `preprocessor_config.json` says"
                " that size; a model that wants texts or masks beside them cannot be used."
            ) from None
        if len(shape) not in (3, 4) or shape[0] != 1:
            raise InputError(
                f"{_KEY} is a `{self._model.config.model_type}` whose output of one input has the"
                f" shape {shape}; it must be (1, tokens, width) or (1, width, rows, columns)."
            )
        return shape


def _size(config: Any, pixels: Pixels, field: str) -> int:
    """H and W: the preprocessor's, else the model's.

    Raises:
        InputError: neither says it, it is no square, or a video model has another.
    """
    own = getattr(config, field, None)
    edges = {own} if isinstance(own, int) else set(own or ())
    size = pixels.size if pixels.size is not None else max(edges, default=None)
    if size is None or (pixels.size is None and len(edges) > 1):
        raise InputError(
            f"{_KEY} says no square size of pictures, neither in `preprocessor_config.json` nor in"
            f" `config.json` (`{field}` is {own}). Add `crop_size` to the former."
        )
    # Models of pictures stretch their positions to the picture; those of videos may misplace them.
    if video_kind(config) is not None and edges != {size}:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` of {own} pixels, but its preprocessor file makes"
            f" {size}. Set `crop_size` there to the model's `{field}`."
        )
    return size
