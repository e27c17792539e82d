"""Hugging Face vision models as video encoders, for image models and video models.

Windows of uint8 pixels go in, and float32 vectors on the CPU come out: pooled outputs of the last
layer, as in `last_hidden_state` (for CLIP this is before the final norm). With an image model every
frame is a moment (K = F) that depends on no other frame and no padding. A video model processes the
window as a whole, including the repeated last frames that pad it, so moments near the end of a
short clip are affected by padding. All B·F frames are processed at once, because the caller's
batches have a constant shape.

Shapes: B windows, F frames of a window, H = W pixels, C = 3, N = B·F, K moments, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kinesweep.config.recipe.video import VisionConfig
from kinesweep.core.errors import InputError
from kinesweep.features.encoders.image_normalization import Pixels, read_pixels
from kinesweep.features.encoders.pretrained_vision import line, read_config, read_weights
from kinesweep.features.encoders.token_pooling import (
    Pool,
    picture_tokens,
    video_kind,
    video_tokens,
)

_KEY = "`features.encoder.pretrained`"


class VisionEncoder:
    """A `VideoEncoder` that wraps a Hugging Face vision model.

    Args:
        model: Model with loaded weights.
        pixels: Image normalization.
        pool: Pooling of the tokens, `mean` over patches or `first` (class token).
        precision: Arithmetic precision, `fp32` or `bf16` (autocast).
        device: Device of the model.

    Raises:
        InputError: If the model does not accept such images or its token order is unknown.
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
        # The token order of an image model follows from the shape of a real output.
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
        # (1, D, h, w) of a convolutional model, else (1, S, D).
        self.width = shape[1] if len(shape) == 4 else shape[2]

    @classmethod
    def from_config(
        cls, config: VisionConfig, precision: str, device: torch.device | str
    ) -> "VisionEncoder":
        """Load a saved model.

        Args:
            config: Model name or folder, and pooling.
            precision: Arithmetic precision, `fp32` or `bf16`.
            device: Device of the model.

        Raises:
            InputError: If the model does not exist, is not supported or has no preprocessor file.
            CheckpointError: If weights are missing or do not fit.
        """
        tower = read_config(config.pretrained)
        video_kind(tower)  # rejects unsupported models before gigabytes are read
        pixels = read_pixels(config.pretrained)
        model = read_weights(config.pretrained, tower)
        return cls(model, pixels, config.pool, precision, device)

    def moments(self, num_frames: int) -> int:
        """Return K: F for an image model, else that of the video model, or 1 for a class token.

        Raises:
            InputError: If a video model processes another number of frames.
        """
        if self._video is None:
            return num_frames
        own = self._frames
        if num_frames != own:
            raise InputError(
                f"`features.windows.num_frames` is {num_frames}, but this"
                f" `{self._model.config.model_type}` processes {own} frames at once. Set it to"
                f" {own}."
            )
        return 1 if self._pool == "first" else self._tokens.moments

    def __call__(self, pixels_BFHWC: Tensor, kept_B: Sequence[int]) -> Tensor:
        """Encode windows; returns float32 (B, K, D) on the CPU.

        Args:
            pixels_BFHWC: Pixels, uint8 RGB.
            kept_B: Number of real frames of each window. It is ignored: an image model processes
                frames independently, and a video model has no mask for padding.
        """
        num_windows, num_frames = pixels_BFHWC.shape[:2]
        moments = self.moments(num_frames)
        pooled = self._tokens(self._states(pixels_BFHWC), self._pool)
        return pooled.reshape(num_windows, moments, self.width).cpu()

    @property
    def _frames(self) -> int:
        """Number of frames that the video model processes at once."""
        assert self._video is not None
        return int(getattr(self._model.config, self._video.frames))

    def _states(self, pixels_BFHWC: Tensor) -> Tensor:
        """Compute the outputs of the last layer, float32, for N images or B windows."""
        inputs = self._pixels(pixels_BFHWC.flatten(0, 1), self._device)
        arguments: dict[str, Any] = {}
        if self._video is not None:
            inputs = inputs.unflatten(0, pixels_BFHWC.shape[:2])
            arguments.update(self._video.arguments)
        arguments[self._model.main_input_name] = inputs
        autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16)
        # The token order is known only for `last_hidden_state`, so the model's own pooler is not
        # used. Under autocast the outputs are bfloat16.
        with torch.inference_mode(), autocast:
            return self._model(**arguments).last_hidden_state.float()

    def _try(self) -> tuple[int, ...]:
        """Run one black image or window and return the shape of the output."""
        frames = 1 if self._video is None else self._frames
        black = torch.zeros(1, frames, self.size, self.size, 3, dtype=torch.uint8)
        try:
            shape = tuple(self._states(black).shape)
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{_KEY} is a `{self._model.config.model_type}` that cannot process images of"
                f" {self.size} pixels alone: {line(error)}. The size comes from"
                " `preprocessor_config.json`. A model that needs texts or masks as further inputs"
                " is not supported."
            ) from None
        if len(shape) not in (3, 4) or shape[0] != 1:
            raise InputError(
                f"{_KEY} is a `{self._model.config.model_type}` whose output for one input has the"
                f" shape {shape}; it must be (1, tokens, width) or (1, width, rows, columns)."
            )
        return shape


def _size(config: Any, pixels: Pixels, field: str) -> int:
    """Return the image size in pixels from the preprocessor file, else from the model.

    Raises:
        InputError: If neither defines a square size, or if that of a video model differs.
    """
    own = getattr(config, field, None)
    edges = {own} if isinstance(own, int) else set(own or ())
    size = pixels.size if pixels.size is not None else max(edges, default=None)
    if size is None or (pixels.size is None and len(edges) > 1):
        raise InputError(
            f"{_KEY} defines no square image size, neither in `preprocessor_config.json` nor in"
            f" `config.json` (`{field}` is {own}). Add `crop_size` to the former."
        )
    # Image models interpolate their position embeddings; video models may assign wrong positions.
    if video_kind(config) is not None and edges != {size}:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` for images of {own} pixels, but its preprocessor"
            f" file produces {size}. Set `crop_size` there to the model's `{field}`."
        )
    return size
