"""The interface of a video encoder, which maps windows of pixels to feature vectors.

The features of a window depend only on its own pixels, not on other windows in the batch. They must
not depend on the frames that pad its end either; only the video models of `hf_vision`, which have
no mask for padding, do not guarantee that.

Shapes: B windows, F frames of a window, H = W pixels, C colors, K time steps of a window, D width.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16", "fp16"]
"""Arithmetic precision of an encoder, whose weights stay float32."""
_AUTOCAST_DTYPES: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def run_inference(device: torch.device, precision: str) -> Iterator[None]:
    """Switch off gradients and autocast to the precision in the context.

    Features are float32 in the end whatever the precision is. Values beyond 65,504 become infinite
    in `fp16`; the extraction then drops the clip and counts it.

    Args:
        device: Device of the model; the CPU computes all precisions too.
        precision: `fp32`, `bf16` or `fp16`.
    """
    dtype = _AUTOCAST_DTYPES.get(precision)
    autocast = torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)
    with torch.inference_mode(), autocast:
        yield


class VideoEncoder(Protocol):
    """A video encoder on one device. It is built in the process that runs it and is not pickled.

    Attributes:
        size: Height and width of the input in pixels.
        width: Width of a feature vector, D.
    """

    size: int
    width: int

    def count_time_steps(self, num_frames: int) -> int:
        """Count the time steps K that the encoder returns for a window of `num_frames` frames.

        Raises:
            InputError: If the model does not support windows of this length.
        """

    def __call__(self, pixels_BFHWC: Tensor, num_real_frames_B: Sequence[int]) -> Tensor:
        """Encode windows of pixels to features.

        Args:
            pixels_BFHWC: Pixels, uint8 RGB.
            num_real_frames_B: Number of real frames of each window, at least 1; the frames after
                them are padding. Only time steps that begin in a real frame are meaningful: the
                first ceil(num_real_frames · K / F).

        Returns:
            Features, float32 (B, K, D), on the CPU.
        """
