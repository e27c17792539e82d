"""The video encoder `signhiera`: windows of up to 128 frames, a vector of 768 every two frames.

Weights come from a file, of masked pretraining, of a classifier or of CLIP. A batch is cut to its
longest window before it is computed, because attention over a window costs the square of its
length: the end of a video that fills half a window takes a quarter of the time. What it gives
for moments after a window's end is zero.

Shapes: B windows, F frames, C colours, H = W pixels, K = F / 2 moments, D width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.video import SignHieraConfig
from kinesweep.features.encoders.signhiera import FRAMES_A_MOMENT, Geometry, SignHiera
from kinesweep.features.encoders.weights import CheckpointLayout, load_checkpoint

Precision = Literal["fp32", "bf16"]

# What Hiera's pretraining on Kinetics, and SSVP-SLT after it, brought pixels to.
_MEAN, _STD = 0.45, 0.225

_BESIDE_FEATURES = (
    *("decoder_", "mask_token", "encoder_norm.", "multi_scale_fusion_heads."),  # of pretraining
    *("norm.", "head.projection."),  # of a classifier: they come after the features
)
_TRAINED = CheckpointLayout(
    containers=("model", "model_state"),
    prefixes=("",),
    dropped=_BESIDE_FEATURES,
    hint="If it is of CLIP, set `from_clip: true`.",
)
_CLIP = CheckpointLayout(
    containers=("clip", "model", "model_state"),
    prefixes=("visual.transformer.", "vision_model.", "vision_tower.", "visual."),
    dropped=(
        *_BESIDE_FEATURES,
        *("text.", "text_model.", "text_tower.", "logit_scale", "logit_bias"),
        *("visual.proj.", "visual_projection.", "text_projection."),
    ),
    hint="If it is not of CLIP, set `from_clip: false`.",
)


class SignHieraEncoder:
    """SignHiera on one device; a `VideoEncoder`.

    Args:
        model: with its weights.
        precision: of its arithmetic; weights stay float32.
        device: where it runs.

    Attributes:
        size: H and W of the pixels it takes.
        width: D.
    """

    def __init__(
        self, model: SignHiera, precision: Precision = "fp32", device: torch.device | str = "cpu"
    ) -> None:
        self.size = model.geometry.size
        self.width = model.geometry.width_out
        self._model = model.eval().requires_grad_(False).to(device)
        self._bf16 = precision == "bf16"
        self._device = torch.device(device)

    @classmethod
    def from_config(
        cls,
        config: SignHieraConfig,
        precision: Precision,
        device: torch.device | str,
        geometry: Geometry = Geometry(),
    ) -> "SignHieraEncoder":
        """The encoder that a recipe asks for.

        Raises:
            CheckpointError: its checkpoint cannot be read or is not of this geometry.
        """
        model = SignHiera(geometry)
        load_checkpoint(model, Path(config.checkpoint), _CLIP if config.from_clip else _TRAINED)
        return cls(model, precision, device)

    def moments(self, num_frames: int) -> int:
        """K of a window of so many frames: one for every two.

        Raises:
            InputError: the number is odd, or none that it has positions for.
        """
        longest = self._model.geometry.frames
        if num_frames % FRAMES_A_MOMENT or not 0 < num_frames <= longest:
            raise InputError(
                f"`windows.num_frames` is {num_frames}, but `signhiera` takes even numbers of"
                f" frames up to {longest}"
            )
        return num_frames // FRAMES_A_MOMENT

    @torch.inference_mode()
    def __call__(self, pixels_BFHWC: Tensor, kept_B: Sequence[int]) -> Tensor:
        """Features, float32 (B, K, D) on the CPU; zero after a window's end.

        Args:
            pixels_BFHWC: uint8 RGB.
            kept_B: frames of each window that are real; the others have no effect.
        """
        batch, frames = pixels_BFHWC.shape[:2]
        assert len(kept_B) == batch and min(kept_B) > 0 and max(kept_B) <= frames
        features_BKD = torch.zeros(batch, self.moments(frames), self.width)
        moments_B = [-(-kept // FRAMES_A_MOMENT) for kept in kept_B]
        longest = max(moments_B)
        real_BT = torch.arange(longest) < torch.tensor(moments_B)[:, None]
        pixels_BCFHW = self._normalised(pixels_BFHWC, kept_B, longest * FRAMES_A_MOMENT)
        mask_BT = None if real_BT.all() else real_BT.to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            x_BTD = self._model(pixels_BCFHW, mask_BT)
        features_BKD[:, :longest] = x_BTD.float().cpu() * real_BT[..., None]
        return features_BKD

    def _normalised(self, pixels_BFHWC: Tensor, kept_B: Sequence[int], frames: int) -> Tensor:
        """The first frames on the device, float (B, C, F, H, W).

        After a window's end stands its last frame, whatever was there: where an odd number is
        real, one such frame belongs to the last moment.
        """
        last_B1 = torch.tensor(kept_B)[:, None] - 1
        frame_BF = torch.arange(frames).minimum(last_B1)
        row_B1 = torch.arange(len(kept_B))[:, None]
        pixels = pixels_BFHWC.cpu()[row_B1, frame_BF].to(self._device)
        return pixels.permute(0, 4, 1, 2, 3).float().div_(255).sub_(_MEAN).div_(_STD)
