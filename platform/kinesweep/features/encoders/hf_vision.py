"""Hugging Face vision models as video encoders, for image models and video models.

Windows of uint8 pixels go in, and float32 vectors on the CPU come out: pooled outputs of the last
layer, as in `last_hidden_state` (for CLIP this is before the final norm). With an image model every
frame is a time step (K = F) that depends on no other frame and no padding. A video model processes
the window as a whole, including the repeated last frames that pad it, so time steps near the end of
a short clip are affected by padding. All B·F frames are processed at once, because the caller's
batches have a constant shape.

Shapes: B windows, F frames of a window, H = W pixels, C = 3 colors, N = B·F images, S tokens, K
time steps of a window, D width; h rows and w columns of a feature map.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kinesweep.config.recipe.video import HfVisionEncoderConfig
from kinesweep.core.errors import InputError, format_one_line
from kinesweep.features.encoders.image_normalization import (
    ImageNormalization,
    read_image_normalization,
)
from kinesweep.features.encoders.pretrained_vision import (
    load_vision_config,
    load_vision_model,
)
from kinesweep.features.encoders.token_pooling import (
    Pool,
    find_video_model_spec,
    get_image_token_layout,
    get_video_token_layout,
)

_KEY = "`features.encoder.pretrained`"


class HfVisionEncoder:
    """A `VideoEncoder` that wraps a Hugging Face vision model.

    Args:
        model: Model with loaded weights, which is moved to the device and set to evaluation mode.
        normalization: Image normalization that the model was trained with.
        pool: Pooling of the tokens, `mean` over patches or `first` (class token).
        precision: Arithmetic precision, `fp32` or `bf16` (autocast).
        device: Device of the model.

    Attributes:
        size: Height and width of the input in pixels.
        width: Width of a feature vector, D.

    Raises:
        InputError: If the model does not accept such images, its token order is unknown, or it has
            no class token and `pool` is `first`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        normalization: ImageNormalization,
        pool: Pool,
        precision: str,
        device: torch.device | str,
    ) -> None:
        self._device = torch.device(device)
        self._model = model.to(self._device).eval()
        self._normalization, self._pool, self._bf16 = normalization, pool, precision == "bf16"
        self._video_spec = find_video_model_spec(model.config)
        self.size = _get_image_size(
            model.config,
            normalization,
            self._video_spec.size_field if self._video_spec else "image_size",
        )
        # The token order of an image model follows from the shape of a real output.
        output_shape = self._probe_output_shape()
        if self._video_spec is None:
            self._token_layout = get_image_token_layout(model.config, output_shape, self.size)
        else:
            self._token_layout = get_video_token_layout(model.config, self._video_spec)
        if pool == "first" and not self._token_layout.has_class:
            raise InputError(
                f"`features.encoder.pool` is `first`, but a `{model.config.model_type}` has no"
                " class token. Set it to `mean`."
            )
        # (1, D, h, w) of a convolutional model, else (1, S, D).
        self.width = output_shape[1] if len(output_shape) == 4 else output_shape[2]

    @classmethod
    def from_config(
        cls, config: HfVisionEncoderConfig, precision: str, device: torch.device | str
    ) -> "HfVisionEncoder":
        """Load the saved vision model that a recipe names and create its encoder.

        A hub model is downloaded to the cache.

        Args:
            config: Hub id or folder of the model, and pooling.
            precision: Arithmetic precision, `fp32` or `bf16`.
            device: Device of the model.

        Raises:
            InputError: If the model does not exist, is not supported, has no preprocessor file or
                has no class token although `pool` is `first`.
            CheckpointError: If weights are missing or do not fit.
        """
        vision_config = load_vision_config(config.pretrained)
        find_video_model_spec(vision_config)  # rejects unsupported models before gigabytes are read
        normalization = read_image_normalization(config.pretrained)
        model = load_vision_model(config.pretrained, vision_config)
        return cls(model, normalization, config.pool, precision, device)

    def count_time_steps(self, num_frames: int) -> int:
        """Count the time steps K of a window with `num_frames` frames.

        With an image model every frame is a time step. A video model has 1 time step if the class
        token is used, otherwise as many as its patches.

        Raises:
            InputError: If a video model processes another number of frames.
        """
        if self._video_spec is None:
            return num_frames
        model_frames = self._num_model_frames
        if num_frames != model_frames:
            raise InputError(
                f"`features.windows.num_frames` is {num_frames}, but this"
                f" `{self._model.config.model_type}` processes {model_frames} frames at once. Set"
                " it to"
                f" {model_frames}."
            )
        return 1 if self._pool == "first" else self._token_layout.num_time_steps

    def __call__(self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int]) -> Tensor:
        """Encode windows to features, float32 (B, K, D) on the CPU.

        Args:
            pixels_BFHWC: Pixels, uint8 RGB.
            num_real_frames_B: Number of real frames of each window. It is ignored: an image model
                processes frames independently, and a video model has no mask for padding.

        Raises:
            InputError: If a video model processes another number of frames.
        """
        num_windows, num_frames = pixels_BFHWC.shape[:2]
        num_time_steps = self.count_time_steps(num_frames)
        pooled = self._token_layout(self._compute_hidden_states(pixels_BFHWC), self._pool)
        return pooled.reshape(num_windows, num_time_steps, self.width).cpu()

    @property
    def _num_model_frames(self) -> int:
        """Return the number of frames that the video model processes at once."""
        assert self._video_spec is not None
        return int(getattr(self._model.config, self._video_spec.frames_field))

    def _compute_hidden_states(self, pixels_BFHWC: Tensor) -> Tensor:
        """Compute the outputs of the last layer, float32, on the device of the model.

        Returns:
            Tokens (N, S, D) of an image model, or its feature map (N, D, h, w) if it is
            convolutional; tokens (B, S, D) of a video model.
        """
        inputs = self._normalization(pixels_BFHWC.flatten(0, 1), self._device)
        forward_kwargs: dict[str, Any] = {}
        if self._video_spec is not None:
            inputs = inputs.unflatten(0, pixels_BFHWC.shape[:2])
            forward_kwargs.update(self._video_spec.arguments)
        forward_kwargs[self._model.main_input_name] = inputs
        autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16)
        # The token order is known only for `last_hidden_state`, so the model's own pooler is not
        # used. Under autocast the outputs are bfloat16.
        with torch.inference_mode(), autocast:
            return self._model(**forward_kwargs).last_hidden_state.float()

    def _probe_output_shape(self) -> tuple[int, ...]:
        """Run one black image or window through the model and return the shape of its last layer.

        Returns:
            (1, S, D), or (1, D, h, w) of a convolutional model.

        Raises:
            InputError: If the model cannot process such images or its output has another form.
        """
        num_frames = 1 if self._video_spec is None else self._num_model_frames
        pixels_BFHWC = torch.zeros(1, num_frames, self.size, self.size, 3, dtype=torch.uint8)
        try:
            shape = tuple(self._compute_hidden_states(pixels_BFHWC).shape)
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{_KEY} is a `{self._model.config.model_type}` that cannot process images of"
                f" {self.size} pixels alone: {format_one_line(error)}. The size comes from"
                " `preprocessor_config.json`. A model that needs texts or masks as further inputs"
                " is not supported."
            ) from None
        if len(shape) not in (3, 4) or shape[0] != 1:
            raise InputError(
                f"{_KEY} is a `{self._model.config.model_type}` whose output for one input has the"
                f" shape {shape}; it must be (1, tokens, width) or (1, width, rows, columns)."
            )
        return shape


def _get_image_size(config: Any, normalization: ImageNormalization, field: str) -> int:
    """Return the height and width of the input in pixels.

    The size comes from the preprocessor file, else from the configuration of the model.

    Args:
        config: Configuration of the model.
        normalization: Image normalization, which contains the size of the preprocessor file.
        field: Name of the field of `config` that contains the size.

    Raises:
        InputError: If neither defines a square size, or if that of a video model differs.
    """
    model_size = getattr(config, field, None)
    edges = {model_size} if isinstance(model_size, int) else set(model_size or ())
    size = normalization.size if normalization.size is not None else max(edges, default=None)
    if size is None or (normalization.size is None and len(edges) > 1):
        raise InputError(
            f"{_KEY} defines no square image size, neither in `preprocessor_config.json` nor in"
            f" `config.json` (`{field}` is {model_size}). Add `crop_size` to the former."
        )
    # Image models interpolate their position embeddings; video models may assign wrong positions.
    if find_video_model_spec(config) is not None and edges != {size}:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` for images of {model_size} pixels, but its"
            " preprocessor file produces"
            f" {size}. Set `crop_size` there to the model's `{field}`."
        )
    return size
