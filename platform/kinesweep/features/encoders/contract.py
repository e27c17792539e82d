"""What a video model must do: windows of pixels in, vectors out, each window for itself.

A window's features depend on its own pixels alone: not on the windows beside it in a batch, nor on
the frames that pad its end.

Shapes: B windows, F frames of a window, H = W pixels, K moments of a window, D width.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class VideoEncoder(Protocol):
    """A video model on one device. Made in the process that runs it; it does not pickle.

    Attributes:
        size: H and W of the pixels it takes.
        width: D.
    """

    size: int
    width: int

    def moments(self, num_frames: int) -> int:
        """K of a window of so many frames.

        Raises:
            InputError: the model takes no such window.
        """

    def __call__(self, pixels_BFHWC: Tensor, kept_B: Sequence[int]) -> Tensor:
        """Features of windows, float32 (B, K, D), on the CPU.

        Args:
            pixels_BFHWC: uint8 RGB.
            kept_B: frames of each window that are real, at least one; those after them pad it.
                Only moments that begin in a real frame mean something: the first
                ceil(kept · K / F).
        """
