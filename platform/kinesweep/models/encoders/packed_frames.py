"""Packed frames: the real frames of a batch in one sequence, without padding.

Graph encoders compute real frames only: padding, a third of a batch if lengths are not sorted, is
neither computed nor seen by a norm. For convolutions over time, clips are separated by half a
kernel of zeros, so a clip sees what it would see alone. The real frames of a clip must be
consecutive, at the start of its row.

Shapes: B clips, T frames, N real frames of all clips, R positions with gaps, V points, C channels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from kinesweep.core.batch import copy_to_device


class FramePacker:
    """Packs the real frames of a batch into one sequence, and unpacks them again.

    Args:
        mask_BT: Mask of the frames, bool (B, T).
        lengths: Number of real frames of each clip; None: they are read from the mask.

    Attributes:
        mask_BT: The mask.
        lengths: Number of real frames of each clip.
    """

    def __init__(self, mask_BT: Tensor, lengths: Sequence[int] | None = None) -> None:
        self.mask_BT = mask_BT
        self.lengths = mask_BT.sum(dim=1).tolist() if lengths is None else list(lengths)
        # Index each real frame in the flattened batch once; every layer uses it again. On the host,
        # because the device does not know their number.
        real_BT = np.arange(mask_BT.shape[1]) < np.array(self.lengths, np.int64)[:, None]
        self._real_N = copy_to_device(torch.from_numpy(np.flatnonzero(real_BT)), mask_BT.device)
        self._clip_N = self._real_N // mask_BT.shape[1]

    def pack(self, x_BTVC: Tensor) -> Tensor:
        """Select the real frames of a padded batch (B, T, …); returns (N, …), clip by clip."""
        return x_BTVC.flatten(0, 1).index_select(0, self._real_N)

    def unpack(self, x_NVC: Tensor) -> Tensor:
        """Put packed frames (N, …) back into a padded batch (B, T, …), with zeros at padding."""
        flat_batch = x_NVC.new_zeros(self.mask_BT.numel(), *x_NVC.shape[1:])
        return flat_batch.index_copy(0, self._real_N, x_NVC).unflatten(0, self.mask_BT.shape)

    def average_per_clip(self, x_NVC: Tensor) -> Tensor:
        """Average packed frames (N, …) over each clip; returns (B, …), zero if it has no frames."""
        # Sums over long clips are too imprecise in half precision.
        sums_BVC = self.unpack(x_NVC.float()).sum(dim=1)
        counts_B = self.mask_BT.sum(dim=1).clamp_min(1)
        return (sums_BVC / counts_B.view(-1, *[1] * (sums_BVC.dim() - 1))).to(x_NVC.dtype)

    def convolve_frames(self, x_NVC: Tensor, convolution: nn.Conv2d) -> Tensor:
        """Convolve packed frames over time, each clip and each point separately.

        Args:
            x_NVC: Packed frames.
            convolution: Convolution over time with an odd kernel (k, 1), stride 1, and padding of
                half a kernel.

        Returns:
            Packed frames (N, V, C').
        """
        gap = convolution.kernel_size[0] // 2  # frames of zeros between two clips
        # Shift each clip by one gap per preceding clip. Half a kernel is enough: a convolution
        # reads no further, and padding of the convolution itself covers both ends.
        positions_N = torch.arange(len(x_NVC), device=x_NVC.device) + gap * self._clip_N
        length = len(x_NVC) + gap * (len(self.lengths) - 1)
        x_RVC = x_NVC.new_zeros(length, *x_NVC.shape[1:]).index_copy(0, positions_N, x_NVC)
        x_CRV = convolution(x_RVC.permute(2, 0, 1)[None].contiguous())[0]
        return x_CRV.permute(1, 2, 0).index_select(0, positions_N)
