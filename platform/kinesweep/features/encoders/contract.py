"""The interface of a video encoder, which maps windows of pixels to feature vectors.

The features of a window depend only on its own pixels, not on other windows in the batch and not on
the frames that pad its end.

Shapes: B windows, F frames of a window, H = W pixels, K moments of a window, D width.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class VideoEncoder(Protocol):
    """A video encoder on one device. It is built in the process that runs it and is not pickled.

    Attributes:
        size: Height and width of the input in pixels.
        width: Width of a feature vector, D.
    """

    size: int
    width: int

    def moments(self, num_frames: int) -> int:
        """Return the number of moments K of a window with `num_frames` frames.

        Raises:
            InputError: If the model does not support windows of this length.
        """

    def __call__(self, pixels_BFHWC: Tensor, kept_B: Sequence[int]) -> Tensor:
        """Encode windows.

        Args:
            pixels_BFHWC: Pixels, uint8 RGB.
            kept_B: Number of real frames of each window, at least 1; the frames after them are
                padding. Only moments that begin in a real frame are meaningful: the first
                ceil(kept · K / F).

        Returns:
            Features, float32 (B, K, D), on the CPU.
        """
