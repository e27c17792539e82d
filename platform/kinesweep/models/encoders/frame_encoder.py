"""The base class of encoders without a skeleton: input steps, and averaging over frames.

Standardization matters most: without it, the constant position of the face hides what moves.
Velocities double the input width but are not stored, so a search can switch them on and off.

Shapes: B clips, T frames, D features, E any width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.config.recipe.model.encoders import FrameEncoderConfig

MIN_STD = 0.1
"""Smaller standard deviations count as this one, so that jitter of the face is not scaled up to the
size of hand movements.

With 0.01 the model reaches 76 BLEU, with 0.1 85 BLEU in the same minute of training (LOG.md). In
the units of the features; for poses, shoulder widths.
"""


class SourceSpan(NamedTuple):
    """The part of a clip that an output vector of an encoder represents.

    Attributes:
        first: First frame.
        end: Frame after the last one.
        joint: Point of the skeleton, if the vector represents a single one; None: all points.
    """

    first: int
    end: int
    joint: int | None = None


class FrameEncoder(nn.Module):
    """A base class for encoders: standardization → velocities → layer norm.

    Args:
        config: Switches for these steps.
        width: Input width D.

    Attributes:
        width_in: Width after `preprocess`: D, or 2 D with velocities.
        downsample: Number of frames averaged into one vector.
    """

    mean: Tensor
    scale: Tensor
    downsample = 1

    def __init__(self, config: FrameEncoderConfig, width: int) -> None:
        super().__init__()
        self.standardize, self.velocity = config.standardize, config.velocity
        if config.standardize:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("scale", torch.ones(width))
        self.width_in = width * (2 if config.velocity else 1)
        self.norm_in = nn.LayerNorm(self.width_in) if config.norm_in else nn.Identity()

    def set_statistics(self, mean_D: Tensor, deviation_D: Tensor) -> None:
        """Set the statistics for standardization; they are saved with the weights.

        Without standardization nothing is set.

        Args:
            mean_D: Mean of each feature in the training split.
            deviation_D: Standard deviation of each feature in the training split.
        """
        if self.standardize:
            self.mean.copy_(mean_D)
            self.scale.copy_(1 / deviation_D.clamp_min(MIN_STD))

    def get_source_spans(self, num_frames: int) -> list[SourceSpan]:
        """Return the frames that each output vector of a clip represents, in time order.

        Args:
            num_frames: Number of real frames of the clip.
        """
        return list_source_spans(num_frames, self.downsample)

    def preprocess(self, x_BTD: Tensor) -> Tensor:
        """Standardize, add velocities and apply the layer norm; returns (B, T, `width_in`).

        Each step is optional. A frame depends on itself and, through its velocity, on the previous
        frame.
        """
        if self.standardize:
            x_BTD = (x_BTD - self.mean.to(x_BTD.dtype)) * self.scale.to(x_BTD.dtype)
        if self.velocity:
            # The first frame has no predecessor: its velocity is zero. A real frame never reads
            # padding, because padding follows it.
            velocity_BTD = functional.pad(x_BTD[:, 1:] - x_BTD[:, :-1], (0, 0, 1, 0))
            x_BTD = torch.cat([x_BTD, velocity_BTD], dim=2)
        return self.norm_in(x_BTD)


def list_source_spans(num_frames: int, step: int) -> list[SourceSpan]:
    """List the spans of `step` consecutive frames of a clip; the last one may be shorter."""
    return [
        SourceSpan(first, min(first + step, num_frames)) for first in range(0, num_frames, step)
    ]


def average_frames(x_BTE: Tensor, mask_BT: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Average every `window` consecutive real frames; a clip's last average may be over fewer.

    Args:
        x_BTE: Vectors of frames.
        mask_BT: Mask of the frames, bool, True on the left only.
        window: Number of frames per average.

    Returns:
        Vectors (B, ceil(T / window), E) and their mask.
    """
    if window == 1:
        return x_BTE, mask_BT
    # Padding is zeroed first, so that it adds nothing to the sums; counts include real frames only.
    num_missing = -x_BTE.shape[1] % window
    x_BTE = functional.pad(x_BTE.masked_fill(~mask_BT[:, :, None], 0), (0, 0, 0, num_missing))
    counts_BT = functional.pad(mask_BT, (0, num_missing)).unflatten(1, (-1, window)).sum(dim=2)
    sums_BTE = x_BTE.unflatten(1, (-1, window)).sum(dim=2)
    return sums_BTE / counts_BT.clamp_min(1)[:, :, None].to(x_BTE.dtype), counts_BT > 0
