"""Batch normalization over the real frames of all ranks.

The input contains real frames only (`packed_frames`), so padding never enters the statistics. Ranks
share their sums in the forward and the backward pass. They therefore normalize alike and save the
same running statistics, and a batch split over two ranks gives the same result as on one. PyTorch's
own `SyncBatchNorm` supports this on GPUs only. A frozen layer keeps its running statistics and uses
them in training too, so a part that is kept from an earlier stage remains exactly as it was.

Shapes: N frames, V points, C channels.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

# Both are PyTorch's defaults.
_EPSILON = 1e-5
_MOMENTUM = 0.1


class BatchNorm(nn.Module):
    """Normalizes each channel (last dimension) over all other dimensions.

    Args:
        channels: Number of channels C.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        # True while the input is a placeholder, which no statistics may count.
        self.ignores_input = False

    def forward(self, x_NVC: Tensor) -> Tensor:
        """Normalize each channel and apply weight and bias; the shape stays the same.

        In training, unless the layer is frozen, the statistics are those of the batch, and the
        running statistics are updated. With several ranks this is a collective call.
        """
        x_NC = x_NVC.flatten(0, -2)
        # A frozen layer does not update its statistics, even if the model is in training mode.
        updates_statistics = self.training and self.weight.requires_grad
        # Also for a placeholder, because the other ranks wait for its sums.
        if (
            updates_statistics
            and dist.is_available()
            and dist.is_initialized()
            and dist.get_world_size() > 1
        ):
            return self._normalize_over_ranks(x_NC.float()).to(x_NVC.dtype).view_as(x_NVC)
        updates_statistics = updates_statistics and not self.ignores_input
        normed_NC = functional.batch_norm(
            x_NC,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            updates_statistics,
            _MOMENTUM,
            _EPSILON,
        )
        return normed_NC.view_as(x_NVC)

    def _normalize_over_ranks(self, x_NC: Tensor) -> Tensor:
        """Normalize by mean and variance over all ranks and update the running statistics."""
        # Ranks have different numbers of frames, so the count is summed along with the values.
        is_counted = 0.0 if self.ignores_input else 1.0
        count_1 = x_NC.new_full((1,), is_counted * len(x_NC))
        sums_and_count = _SumOverRanks.apply(torch.cat([is_counted * x_NC.sum(dim=0), count_1]))
        sum_C, count = sums_and_count.split([x_NC.shape[1], 1])
        has_frames, count = count > 0, count.clamp_min(1)
        mean_C = sum_C / count
        # Two passes: E[x²] - E[x]² would lose precision.
        squares_C = is_counted * (x_NC - mean_C).square().sum(dim=0)
        variance_C = _SumOverRanks.apply(squares_C) / count
        with torch.no_grad():
            # PyTorch also keeps the unbiased variance as running statistic.
            unbiased_C = variance_C * count / (count - 1)
            for running_C, batch_C in (
                (self.running_mean, mean_C),
                (self.running_var, unbiased_C),
            ):
                # No rank may have a frame of the stream, which leaves the statistics as they are.
                updated_C = running_C.lerp(batch_C, _MOMENTUM)
                running_C.copy_(torch.where(has_frames, updated_C, running_C))
        return (x_NC - mean_C) * (variance_C + _EPSILON).rsqrt() * self.weight + self.bias


class _SumOverRanks(torch.autograd.Function):
    """Sum over ranks; its gradient is a sum too: each rank's loss depends on all ranks' inputs."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        """Sum `x` over all ranks; every rank gets the sum."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        """Sum the gradient over all ranks; every rank gets the sum."""
        total = grad.clone()
        dist.all_reduce(total)
        return total
