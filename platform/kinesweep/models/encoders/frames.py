"""What all encoders begin with, and the mean over frames that some end with.

Standardising matters most: without it the constant place of a face hides what moves. Velocities
cost twice the input width and nothing in the store, so that a search can try them.

Shapes: B clips, T frames, D features, E any width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.core.recipe.model import FrameEncoderConfig

LEAST_DEVIATION = 0.1
"""Deviations below it count as this one: a face's jitter must not grow to the size of hands.

76 BLEU with 0.01 and 85 with 0.1 in the same minute of training (LOG.md). In the features' units,
for poses shoulder widths.
"""


class FrameEncoder(nn.Module):
    """Standardise → velocities → norm; to be inherited.

    Args:
        config: which of these are there.
        width: D.

    Attributes:
        width_in: of what `begin` gives: D, or 2 D with velocities.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: FrameEncoderConfig, width: int) -> None:
        super().__init__()
        self.standardize, self.velocity = config.standardize, config.velocity
        if config.standardize:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("scale", torch.ones(width))
        self.width_in = width * (2 if config.velocity else 1)
        self.norm_in = nn.LayerNorm(self.width_in) if config.norm_in else nn.Identity()

    def set_statistics(self, mean_D: Tensor, deviation_D: Tensor) -> None:
        """Takes over the training split's statistics; they are saved with the weights."""
        if self.standardize:
            self.mean.copy_(mean_D)
            self.scale.copy_(1 / deviation_D.clamp_min(LEAST_DEVIATION))

    def begin(self, x_BTD: Tensor) -> Tensor:
        """Returns (B, T, `width_in`); each frame depends on itself and the one before."""
        if self.standardize:
            x_BTD = (x_BTD - self.mean.to(x_BTD.dtype)) * self.scale.to(x_BTD.dtype)
        if self.velocity:
            moved_BTD = functional.pad(x_BTD[:, 1:] - x_BTD[:, :-1], (0, 0, 1, 0))
            x_BTD = torch.cat([x_BTD, moved_BTD], dim=2)
        return self.norm_in(x_BTD)


def mean_of_frames(x_BTE: Tensor, mask_BT: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """The mean of each `times` real frames in a row; the last mean of a clip may be of fewer.

    Returns:
        Vectors (B, ceil(T / times), E) and their mask.
    """
    if times == 1:
        return x_BTE, mask_BT
    short = -x_BTE.shape[1] % times
    x_BTE = functional.pad(x_BTE.masked_fill(~mask_BT[:, :, None], 0), (0, 0, 0, short))
    counts_BT = functional.pad(mask_BT, (0, short)).unflatten(1, (-1, times)).sum(dim=2)
    sums_BTE = x_BTE.unflatten(1, (-1, times)).sum(dim=2)
    return sums_BTE / counts_BT.clamp_min(1)[:, :, None].to(x_BTE.dtype), counts_BT > 0
