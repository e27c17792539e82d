"""Hugging Face vision models as video encoders, for image models and video models.

Windows of uint8 pixels go in, and float32 vectors on the CPU come out: those of `HfVisionNetwork`
in evaluation mode. All B·F frames are processed at once, because the caller's batches have a
constant shape.

Shapes: B windows, F frames of a window, H = W pixels, C = 3 colors, K time steps of a window, D
width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kinesweep.config.recipe.video import HfVisionEncoderConfig
from kinesweep.features.encoders.contract import run_inference
from kinesweep.features.encoders.hf_vision_network import HfVisionNetwork
from kinesweep.features.encoders.image_normalization import (
    ImageNormalization,
    read_image_normalization,
)
from kinesweep.features.encoders.pretrained_vision import (
    load_vision_config,
    load_vision_model,
)
from kinesweep.features.encoders.token_pooling import Pool, find_video_model_spec


class HfVisionEncoder:
    """A `VideoEncoder` that wraps a Hugging Face vision model.

    Args:
        model: Model with loaded weights, which is moved to the device and set to evaluation mode.
        normalization: Image normalization that the model was trained with.
        pool: Pooling of the tokens, `mean` over patches or `first` (class token).
        precision: Arithmetic precision, `fp32`, `bf16` or `fp16` (autocast).
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
        self._precision = precision
        with run_inference(self._device, self._precision):
            self._network = HfVisionNetwork(model.to(self._device).eval(), normalization, pool)
        self.size, self.width = self._network.size, self._network.width

    @classmethod
    def from_config(
        cls, config: HfVisionEncoderConfig, precision: str, device: torch.device | str
    ) -> "HfVisionEncoder":
        """Load the saved vision model that a recipe names and create its encoder.

        A hub model is downloaded to the cache.

        Args:
            config: Hub id or folder of the model, and pooling.
            precision: Arithmetic precision, `fp32`, `bf16` or `fp16`.
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
        return self._network.count_time_steps(num_frames)

    def __call__(self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int]) -> Tensor:
        """Encode windows to features, float32 (B, K, D) on the CPU.

        Args:
            pixels_BFHWC: Pixels, uint8 RGB.
            num_real_frames_B: Number of real frames of each window. It is ignored: an image model
                processes frames independently, and a video model has no mask for padding.

        Raises:
            InputError: If a video model processes another number of frames.
        """
        with run_inference(self._device, self._precision):
            return self._network(pixels_BFHWC, num_real_frames_B).cpu()
