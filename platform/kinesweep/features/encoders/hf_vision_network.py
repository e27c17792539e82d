"""A Hugging Face vision model as a differentiable network from pixels to vectors.

Windows of uint8 pixels go in, and float32 vectors come out: pooled outputs of the last layer, as in
`last_hidden_state` (for CLIP this is before the final norm). With an image model every frame is a
time step (K = F) that depends on no other frame and no padding. A video model processes the window
as a whole, including the repeated last frames that pad it, so time steps near the end of a short
clip are affected by padding. Extraction and training use this one network.

Shapes: B windows, F frames of a window, H = W pixels, C = 3 colors, N = B·F images, S tokens, K
time steps of a window, D width; h rows and w columns of a feature map.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kinesweep.core.errors import InputError, format_one_line
from kinesweep.features.encoders.image_normalization import ImageNormalization
from kinesweep.features.encoders.token_pooling import (
    Pool,
    find_video_model_spec,
    get_image_token_layout,
    get_video_token_layout,
)

_KEY = "`features.encoder.pretrained`"


class HfVisionNetwork(nn.Module):
    """A network from windows of pixels to vectors, with the weights of a Hugging Face model.

    Args:
        model: Model for images or videos.
        normalization: Image normalization that the model was trained with.
        pool: Pooling of the tokens, `mean` over patches or `first` (class token).
        size: Height and width of the input in pixels; None: that of the normalization or of the
            model.
        output_shape: Shape of the last layer's output for one image or window, which a network of
            the same kind has; None: one black image passes through the model.

    Attributes:
        size: Height and width of the input in pixels.
        width: Width of a vector, D.
        output_shape: Shape of the last layer's output for one image or window.
        is_framewise: Whether every frame is a time step that depends on no other frame.

    Raises:
        InputError: If the model does not accept such images, its token order is unknown, or it has
            no class token and `pool` is `first`.
    """

    is_framewise: bool

    def __init__(
        self,
        model: PreTrainedModel,
        normalization: ImageNormalization,
        pool: Pool,
        size: int | None = None,
        output_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.normalization, self.pool = model, normalization, pool
        self._video_spec = find_video_model_spec(model.config)
        self.is_framewise = self._video_spec is None
        self.size = get_image_size(model.config, normalization) if size is None else size
        # The token order of an image model follows from the shape of a real output.
        self.output_shape = self._probe_output_shape() if output_shape is None else output_shape
        if self._video_spec is None:
            self._token_layout = get_image_token_layout(model.config, self.output_shape, self.size)
        else:
            self._token_layout = get_video_token_layout(model.config, self._video_spec)
        if pool == "first" and not self._token_layout.has_class:
            raise InputError(
                f"`features.encoder.pool` is `first`, but a `{model.config.model_type}` has no"
                " class token. Set it to `mean`."
            )
        # (1, D, h, w) of a convolutional model, else (1, S, D).
        self.width = self.output_shape[1 if len(self.output_shape) == 4 else 2]

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
                f" `{self.model.config.model_type}` processes {model_frames} frames at once. Set"
                " it to"
                f" {model_frames}."
            )
        return 1 if self.pool == "first" else self._token_layout.num_time_steps

    def forward(self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int]) -> Tensor:
        """Encode windows to vectors, float32 (B, K, D), on the device of the model.

        Args:
            pixels_BFHWC: Pixels, uint8 RGB.
            num_real_frames_B: Number of real frames of each window. It is ignored: an image model
                processes frames independently, and a video model has no mask for padding.

        Raises:
            InputError: If a video model processes another number of frames.
        """
        num_windows, num_frames = pixels_BFHWC.shape[:2]
        num_time_steps = self.count_time_steps(num_frames)
        pooled = self._token_layout(self._compute_hidden_states(pixels_BFHWC), self.pool)
        return pooled.reshape(num_windows, num_time_steps, self.width)

    def build_black_window(self) -> Tensor:
        """Build the smallest input of the network: one black image or window, (1, F, H, W, C)."""
        num_frames = 1 if self._video_spec is None else self._num_model_frames
        return torch.zeros(1, num_frames, self.size, self.size, 3, dtype=torch.uint8)

    @property
    def _num_model_frames(self) -> int:
        """Return the number of frames that the video model processes at once."""
        assert self._video_spec is not None
        return int(getattr(self.model.config, self._video_spec.frames_field))

    def _compute_hidden_states(self, pixels_BFHWC: Tensor) -> Tensor:
        """Compute the outputs of the last layer, float32, on the device of the model.

        Returns:
            Tokens (N, S, D) of an image model, or its feature map (N, D, h, w) if it is
            convolutional; tokens (B, S, D) of a video model.
        """
        inputs = self.normalization(pixels_BFHWC.flatten(0, 1), self.model.device)
        forward_kwargs: dict[str, Any] = {}
        if self._video_spec is not None:
            inputs = inputs.unflatten(0, pixels_BFHWC.shape[:2])
            forward_kwargs.update(self._video_spec.arguments)
        forward_kwargs[self.model.main_input_name] = inputs
        # The token order is known only for `last_hidden_state`, so the model's own pooler is not
        # used. Under autocast the outputs are bfloat16.
        return self.model(**forward_kwargs).last_hidden_state.float()

    def _probe_output_shape(self) -> tuple[int, ...]:
        """Run one black image or window through the model and return the shape of its last layer.

        Returns:
            (1, S, D), or (1, D, h, w) of a convolutional model.

        Raises:
            InputError: If the model cannot process such images or its output has another form.
        """
        try:
            with torch.no_grad():
                shape = tuple(self._compute_hidden_states(self.build_black_window()).shape)
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{_KEY} is a `{self.model.config.model_type}` that cannot process images of"
                f" {self.size} pixels alone: {format_one_line(error)}. The size comes from"
                " `preprocessor_config.json`. A model that needs texts or masks as further inputs"
                " is not supported."
            ) from None
        if len(shape) not in (3, 4) or shape[0] != 1:
            raise InputError(
                f"{_KEY} is a `{self.model.config.model_type}` whose output for one input has the"
                f" shape {shape}; it must be (1, tokens, width) or (1, width, rows, columns)."
            )
        return shape


def get_image_size(config: Any, normalization: ImageNormalization) -> int:
    """Return the height and width of the input in pixels.

    The size comes from the preprocessor file, else from the configuration of the model.

    Args:
        config: Configuration of the model.
        normalization: Image normalization, which contains the size of the preprocessor file.

    Raises:
        InputError: If neither defines a square size, or if that of a video model differs.
    """
    video_spec = find_video_model_spec(config)
    field = video_spec.size_field if video_spec else "image_size"
    model_size = getattr(config, field, None)
    edges = {model_size} if isinstance(model_size, int) else set(model_size or ())
    size = normalization.size if normalization.size is not None else max(edges, default=None)
    if size is None or (normalization.size is None and len(edges) > 1):
        raise InputError(
            f"{_KEY} defines no square image size, neither in `preprocessor_config.json` nor in"
            f" `config.json` (`{field}` is {model_size}). Add `crop_size` to the former."
        )
    # Image models interpolate their position embeddings; video models may assign wrong positions.
    if video_spec is not None and edges != {size}:
        raise InputError(
            f"{_KEY} is a `{config.model_type}` for images of {model_size} pixels, but its"
            " preprocessor file produces"
            f" {size}. Set `crop_size` there to the model's `{field}`."
        )
    return size
