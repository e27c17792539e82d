"""The video encoder `signhiera`: windows of up to 128 frames, a vector of 768 every two frames.

Weights come from a checkpoint of masked pretraining, of a classifier or of CLIP. A batch is
truncated to its longest window first, because attention takes time quadratic in the length: the end
of a video that fills half a window takes a quarter of the time. Features of time steps after the
end of a window are zero.

Shapes: B windows, F frames of a window, C colors, H = W pixels, K = F / 2 time steps of a window, T
time steps of the longest window of a batch without its padding (T ≤ K), D width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kinesweep.config.recipe.video import SignHieraEncoderConfig
from kinesweep.core.errors import InputError
from kinesweep.features.encoders.signhiera import FRAMES_PER_TIME_STEP, HieraGeometry, SignHiera
from kinesweep.features.encoders.strict_loading import CheckpointLayout, load_checkpoint

Precision = Literal["fp32", "bf16"]

# Pixel normalization of Hiera's pretraining on Kinetics, which SSVP-SLT uses too.
_MEAN, _STD = 0.45, 0.225

# Prefixes of tensors that the features do not depend on.
_UNUSED_PREFIXES = (
    *("decoder_", "mask_token", "encoder_norm.", "multi_scale_fusion_heads."),  # pretraining
    *("norm.", "head.projection."),  # classifier; these layers come after the features
)
_DEFAULT_LAYOUT = CheckpointLayout(
    containers=("model", "model_state"),
    prefixes=("",),
    ignored_prefixes=_UNUSED_PREFIXES,
    hint="If it is a CLIP checkpoint, set `from_clip: true`.",
)
_CLIP_LAYOUT = CheckpointLayout(
    containers=("clip", "model", "model_state"),
    prefixes=("visual.transformer.", "vision_model.", "vision_tower.", "visual."),
    ignored_prefixes=(
        *_UNUSED_PREFIXES,
        *("text.", "text_model.", "text_tower.", "logit_scale", "logit_bias"),
        *("visual.proj.", "visual_projection.", "text_projection."),
    ),
    hint="If it is not a CLIP checkpoint, set `from_clip: false`.",
)


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
        self._model = model.eval().requires_grad_(False).to(device)
        self._bf16 = precision == "bf16"
        self._device = torch.device(device)

    @classmethod
    def from_config(
        cls,
        config: SignHieraEncoderConfig,
        precision: Precision,
        device: torch.device | str,
        geometry: HieraGeometry = HieraGeometry(),
    ) -> "SignHieraEncoder":
        """Create the encoder that a recipe defines and load its weights from the checkpoint.

        Args:
            config: Path and type of the checkpoint.
            precision: Arithmetic precision.
            device: Device of the model.
            geometry: Size of the network.

        Raises:
            CheckpointError: If the checkpoint cannot be read or has another geometry.
        """
        model = SignHiera(geometry)
        load_checkpoint(
            model, Path(config.checkpoint), _CLIP_LAYOUT if config.from_clip else _DEFAULT_LAYOUT
        )
        return cls(model, precision, device)

    def count_time_steps(self, num_frames: int) -> int:
        """Count the time steps K of a window with `num_frames` frames, one for every two frames.

        Raises:
            InputError: If the number is odd or exceeds the maximum length of the model.
        """
        max_frames = self._model.geometry.max_frames
        if num_frames % FRAMES_PER_TIME_STEP or not 0 < num_frames <= max_frames:
            raise InputError(
                f"`windows.num_frames` is {num_frames}, but `signhiera` supports even numbers of"
                f" frames up to {max_frames}"
            )
        return num_frames // FRAMES_PER_TIME_STEP

    @torch.inference_mode()
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
        num_windows, num_frames = pixels_BFHWC.shape[:2]
        assert (
            len(num_real_frames_B) == num_windows
            and min(num_real_frames_B) > 0
            and max(num_real_frames_B) <= num_frames
        )
        features_BKD = torch.zeros(num_windows, self.count_time_steps(num_frames), self.width)
        # Rounded up: a last time step with only one real frame still counts.
        time_steps_B = [-(-num_real // FRAMES_PER_TIME_STEP) for num_real in num_real_frames_B]
        max_time_steps = max(time_steps_B)
        real_BT = torch.arange(max_time_steps) < torch.tensor(time_steps_B)[:, None]
        pixels_BCFHW = self._normalize_pixels(
            pixels_BFHWC, num_real_frames_B, max_time_steps * FRAMES_PER_TIME_STEP
        )
        # A batch of equally long windows needs no mask.
        mask_BT = None if real_BT.all() else real_BT.to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            x_BTD = self._model(pixels_BCFHW, mask_BT)
        features_BKD[:, :max_time_steps] = x_BTD.float().cpu() * real_BT[..., None]
        return features_BKD

    def _normalize_pixels(
        self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int], num_frames: int
    ) -> Tensor:
        """Normalize the first `num_frames` frames of each window, float32 (B, C, F, H, W).

        The result is on the device of the model; its F is `num_frames`. Frames after the end of a
        window are replaced by its last real frame. If the number of real frames is odd, one such
        frame belongs to the last time step, so its content must be defined.
        """
        last_frame_B1 = torch.tensor(num_real_frames_B)[:, None] - 1
        frame_BF = torch.arange(num_frames).minimum(last_frame_B1)
        window_B1 = torch.arange(len(num_real_frames_B))[:, None]
        pixels_BFHWC = pixels_BFHWC.cpu()[window_B1, frame_BF].to(self._device)
        return pixels_BFHWC.permute(0, 4, 1, 2, 3).float().div_(255).sub_(_MEAN).div_(_STD)
