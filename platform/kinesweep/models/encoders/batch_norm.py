"""Batch norm over real frames, of all ranks together.

It is handed real frames alone (`reel`), so padding is in no statistic. Several ranks share sums,
forwards and backwards, so that they norm alike and save the same running statistics, and a batch
over two ranks is a batch; PyTorch's own `SyncBatchNorm` does that on GPUs only. A frozen one keeps
its running statistics and uses them in training too: what stays of an earlier stage stays whole.

Shapes: N frames, V points, C channels.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

_EPSILON = 1e-5
_MOMENTUM = 0.1
"""Both PyTorch's."""


class BatchNorm(nn.Module):
    """Norms the last dimension's channels over all others.

    Args:
        channels: C.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_NVC: Tensor) -> Tensor:
        """Returns the same shape."""
        x_NC = x_NVC.flatten(0, -2)
        learns = self.training and self.weight.requires_grad
        if learns and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return self._shared(x_NC.float()).to(x_NVC.dtype).view_as(x_NVC)
        normed_NC = functional.batch_norm(
            x_NC,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            learns,
            _MOMENTUM,
            _EPSILON,
        )
        return normed_NC.view_as(x_NVC)

    def _shared(self, x_NC: Tensor) -> Tensor:
        """By the mean and variance over all ranks."""
        count_1 = x_NC.new_full((1,), len(x_NC))
        *sums, count = _Sum.apply(torch.cat([x_NC.sum(dim=0), count_1])).split([x_NC.shape[1], 1])
        mean_C = sums[0] / count
        variance_C = _Sum.apply((x_NC - mean_C).square().sum(dim=0)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, _MOMENTUM)
            self.running_var.lerp_(variance_C * count / (count - 1), _MOMENTUM)
        return (x_NC - mean_C) * (variance_C + _EPSILON).rsqrt() * self.weight + self.bias


class _Sum(torch.autograd.Function):
    """The sum over ranks; each rank's loss depends on what every rank put in."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total
