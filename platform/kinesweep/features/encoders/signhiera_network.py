"""SignHiera as a differentiable network from pixels to vectors, and the loading of its weights.

A batch is truncated to its longest window first, because attention takes time quadratic in the
length: the end of a video that fills half a window takes a quarter of the time. Vectors of time
steps after the end of a window are zero. Extraction and training use this one network.

Shapes: B windows, F frames of a window, C colors, H = W pixels, K = F / 2 time steps of a window, T
time steps of the longest window of a batch without its padding (T ≤ K), D width.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.core.errors import CheckpointError, InputError, format_one_line
from kinesweep.features.encoders.signhiera import FRAMES_PER_TIME_STEP, HieraGeometry, SignHiera
from kinesweep.features.encoders.strict_loading import CheckpointLayout, load_checkpoint

# Pixel normalization of Hiera's pretraining on Kinetics, which SSVP-SLT uses too.
_MEAN, _STD = 0.45, 0.225
# Metadata of a safetensors file under which `write_signhiera` states the geometry.
_GEOMETRY_KEY = "signhiera_geometry"

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


def load_signhiera(path: Path, from_clip: bool, geometry: HieraGeometry | None = None) -> SignHiera:
    """Load a SignHiera from a checkpoint.

    Args:
        path: Checkpoint of masked pretraining, of a classifier or of CLIP.
        from_clip: Whether it is a checkpoint of CLIP.
        geometry: Size of the network; None: the one that the checkpoint states, as those of
            `kinesweep pretrain` do, otherwise that of Hiera-Base on 128 frames.

    Raises:
        CheckpointError: If the checkpoint cannot be read or has another geometry.
    """
    model = SignHiera(geometry or read_stated_geometry(path) or HieraGeometry())
    load_checkpoint(model, path, _CLIP_LAYOUT if from_clip else _DEFAULT_LAYOUT)
    return model


def write_signhiera(model: SignHiera, path: Path) -> None:
    """Write the weights of a SignHiera as safetensors, with its geometry as metadata."""
    geometry = json.dumps(dataclasses.asdict(model.geometry))
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, path, {_GEOMETRY_KEY: geometry})


def read_stated_geometry(path: Path) -> HieraGeometry | None:
    """Read the geometry that a checkpoint states; None if it states none.

    Args:
        path: Checkpoint; a file that does not exist states nothing.

    Raises:
        CheckpointError: If the file is not readable as safetensors, or the geometry is damaged.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_GEOMETRY_KEY)
        if text is None:
            return None
        values = json.loads(text)
        return HieraGeometry(**{**values, "stage_depths": tuple(values["stage_depths"])})
    except (OSError, ValueError, TypeError, KeyError, AssertionError, SafetensorError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {format_one_line(error)}") from None


class SignHieraNetwork(nn.Module):
    """A network from windows of pixels to vectors, with the weights of a SignHiera.

    Args:
        model: SignHiera.

    Attributes:
        size: Height and width of the input in pixels.
        width: Width of a vector, D.
        is_framewise: Whether every frame is a time step that depends on no other frame: it is not.
    """

    is_framewise = False

    def __init__(self, model: SignHiera) -> None:
        super().__init__()
        self.model = model
        self.size, self.width = model.geometry.size, model.geometry.output_width

    def count_time_steps(self, num_frames: int) -> int:
        """Count the time steps K of a window with `num_frames` frames, one for every two frames.

        Raises:
            InputError: If the number is odd or exceeds the maximum length of the model.
        """
        max_frames = self.model.geometry.max_frames
        if num_frames % FRAMES_PER_TIME_STEP or not 0 < num_frames <= max_frames:
            raise InputError(
                f"`windows.num_frames` is {num_frames}, but `signhiera` supports even numbers of"
                f" frames up to {max_frames}"
            )
        return num_frames // FRAMES_PER_TIME_STEP

    def forward(self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int]) -> Tensor:
        """Encode windows to vectors, float32 (B, K, D), on the device of the model.

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
        num_time_steps = self.count_time_steps(num_frames)
        # Rounded up: a last time step with only one real frame still counts.
        time_steps_B = [-(-num_real // FRAMES_PER_TIME_STEP) for num_real in num_real_frames_B]
        max_time_steps = max(time_steps_B)
        real_BT = torch.arange(max_time_steps) < torch.tensor(time_steps_B)[:, None]
        is_padded = not real_BT.all()
        pixels_BCFHW = self._normalize_pixels(
            pixels_BFHWC, num_real_frames_B, max_time_steps * FRAMES_PER_TIME_STEP
        )
        real_BT = real_BT.to(pixels_BCFHW.device)
        # A batch of equally long windows needs no mask.
        x_BTD = self.model(pixels_BCFHW, real_BT if is_padded else None).float()
        return functional.pad(
            x_BTD * real_BT[..., None], (0, 0, 0, num_time_steps - max_time_steps)
        )

    def build_black_window(self) -> Tensor:
        """Build a short input of the network: one black window of two frames, (1, F, H, W, C)."""
        shape = (1, FRAMES_PER_TIME_STEP, self.size, self.size, 3)
        return torch.zeros(shape, dtype=torch.uint8)

    def _normalize_pixels(
        self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int], num_frames: int
    ) -> Tensor:
        """Normalize the first `num_frames` frames of each window, float32 (B, C, F, H, W).

        The result is on the device of the model; its F is `num_frames`. Frames after the end of a
        window are replaced by its last real frame. If the number of real frames is odd, one such
        frame belongs to the last time step, so its content must be defined.
        """
        last_frame_B1 = torch.tensor(num_real_frames_B)[:, None] - 1
        frame_BF = torch.arange(num_frames).minimum(last_frame_B1).to(pixels_BFHWC.device)
        window_B1 = torch.arange(len(num_real_frames_B), device=pixels_BFHWC.device)[:, None]
        return normalize_pixels(
            pixels_BFHWC[window_B1, frame_BF].to(self.model.pos_embed_spatial.device)
        )


def normalize_pixels(pixels_BFHWC: Tensor) -> Tensor:
    """Normalize pixels as SignHiera reads them, float32 (B, C, F, H, W).

    Args:
        pixels_BFHWC: Pixels, uint8 RGB.
    """
    return pixels_BFHWC.permute(0, 4, 1, 2, 3).float().div_(255).sub_(_MEAN).div_(_STD)
