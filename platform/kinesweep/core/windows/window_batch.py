"""The batch of windows of frames that a pretraining objective gets.

Shapes: B windows, F frames of a window, H = W pixels, C colors.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowBatch:
    """A batch of windows.

    Attributes:
        pixels_BFHWC: Pixels, uint8 RGB; frames after the end of a clip repeat its last one.
        num_real_frames_B: Number of frames of each window before the end of its clip, at least 1.
        seeds_B: Seed of each window, from which an objective draws everything random.
        clip_ids_B: Clip of each window.
        texts_B: Texts of the clip of each window, possibly none.
    """

    pixels_BFHWC: Tensor
    num_real_frames_B: tuple[int, ...]
    seeds_B: tuple[int, ...]
    clip_ids_B: tuple[str, ...]
    texts_B: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.seeds_B)

    def to(self, device: torch.device) -> "WindowBatch":
        """Return the batch with its pixels on a device."""
        # Only pixels are large; seeds and texts are read on the CPU.
        return replace(self, pixels_BFHWC=self.pixels_BFHWC.to(device, non_blocking=True))
