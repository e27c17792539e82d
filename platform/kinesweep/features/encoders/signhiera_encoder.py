"""The video encoder `signhiera`: windows of up to 128 frames, a vector of 768 every two frames.

Weights come from a checkpoint of masked pretraining, of a classifier or of CLIP.

Shapes: B windows, F frames of a window, C colors, H = W pixels, K = F / 2 time steps of a window, D
width.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kinesweep.config.recipe.video import SignHieraEncoderConfig
from kinesweep.features.encoders.contract import Precision, run_inference
from kinesweep.features.encoders.signhiera import HieraGeometry, SignHiera
from kinesweep.features.encoders.signhiera_network import SignHieraNetwork, load_signhiera


class SignHieraEncoder:
    """A `VideoEncoder` that runs SignHiera on one device.

    Args:
        model: Model with loaded weights, which is frozen, set to evaluation mode and moved to the
            device.
        precision: Arithmetic precision; weights stay float32.
        device: Device of the model.

    Attributes:
        size: Height and width of the input in pixels.
        width: Width of a feature vector, D.
    """

    def __init__(
        self, model: SignHiera, precision: Precision = "fp32", device: torch.device | str = "cpu"
    ) -> None:
        self.size = model.geometry.size
        self.width = model.geometry.output_width
        self._network = SignHieraNetwork(model.eval().requires_grad_(False).to(device))
        self._precision = precision
        self._device = torch.device(device)

    @classmethod
    def from_config(
        cls,
        config: SignHieraEncoderConfig,
        precision: Precision,
        device: torch.device | str,
        geometry: HieraGeometry | None = None,
    ) -> "SignHieraEncoder":
        """Create the encoder that a recipe defines and load its weights from the checkpoint.

        Args:
            config: Path and type of the checkpoint.
            precision: Arithmetic precision.
            device: Device of the model.
            geometry: Size of the network; None: see `load_signhiera`.

        Raises:
            CheckpointError: If the checkpoint cannot be read or has another geometry.
        """
        model = load_signhiera(Path(config.checkpoint), config.from_clip, geometry)
        return cls(model, precision, device)

    def count_time_steps(self, num_frames: int) -> int:
        """Count the time steps K of a window with `num_frames` frames, one for every two frames.

        Raises:
            InputError: If the number is odd or exceeds the maximum length of the model.
        """
        return self._network.count_time_steps(num_frames)

    def __call__(self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int]) -> Tensor:
        """Encode windows to features, float32 (B, K, D) on the CPU.

        Features of time steps after the end of a window are zero.

        Args:
            pixels_BFHWC: Pixels, uint8 RGB.
            num_real_frames_B: Number of real frames of each window, at least 1; other frames have
                no effect.

        Raises:
            InputError: If the model does not support windows of this length.
        """
        with run_inference(self._device, self._precision):
            return self._network(pixels_BFHWC, num_real_frames_B).cpu()
