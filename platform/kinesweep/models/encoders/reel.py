"""The real frames of a batch, end to end, with no padding between them.

Graph encoders spend a step on frames alone: padding, a third of a batch where lengths are not
sorted, is neither computed nor seen by a norm. For a convolution over time frames are laid on a
reel, clips apart by half a kernel of zeros: a clip sees there what it sees when it is alone. Real
frames of a clip must lie side by side, at the start of its row.

Shapes: B clips, T frames, N real frames of all clips, R places on a reel, V points, C channels.
"""

import torch
from torch import Tensor, nn


class Reel:
    """Which frames of a batch are real.

    Args:
        mask_BT: bool (B, T).

    Attributes:
        mask_BT: as given.
        lengths: real frames of each clip.
    """

    def __init__(self, mask_BT: Tensor) -> None:
        self.mask_BT = mask_BT
        self.lengths: list[int] = mask_BT.sum(dim=1).tolist()
        self._real_N = mask_BT.flatten().nonzero().flatten()
        self._clip_N = self._real_N // mask_BT.shape[1]

    def pack(self, x_BTVC: Tensor) -> Tensor:
        """The real frames of (B, T, …), as (N, …)."""
        return x_BTVC.flatten(0, 1).index_select(0, self._real_N)

    def spread(self, x_NVC: Tensor) -> Tensor:
        """Frames (N, …) in their places, (B, T, …), and zeros elsewhere."""
        flat = x_NVC.new_zeros(self.mask_BT.numel(), *x_NVC.shape[1:])
        return flat.index_copy(0, self._real_N, x_NVC).unflatten(0, self.mask_BT.shape)

    def mean(self, x_NVC: Tensor) -> Tensor:
        """The mean over each clip's frames, (B, …); zero where a clip has none."""
        sums_BVC = self.spread(x_NVC.float()).sum(dim=1)
        counts_B = self.mask_BT.sum(dim=1).clamp_min(1)
        return (sums_BVC / counts_B.view(-1, *[1] * (sums_BVC.dim() - 1))).to(x_NVC.dtype)

    def convolve(self, x_NVC: Tensor, convolution: nn.Conv2d) -> Tensor:
        """A convolution over time, of each point alike; (N, V, C')."""
        gap = convolution.kernel_size[0] // 2
        places_N = torch.arange(len(x_NVC), device=x_NVC.device) + gap * self._clip_N
        length = len(x_NVC) + gap * (len(self.lengths) - 1)
        x_RVC = x_NVC.new_zeros(length, *x_NVC.shape[1:]).index_copy(0, places_N, x_NVC)
        x_CRV = convolution(x_RVC.permute(2, 0, 1)[None].contiguous())[0]
        return x_CRV.permute(1, 2, 0).index_select(0, places_N)
