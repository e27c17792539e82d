"""Gradients of all workers, added in a fixed order of parameters.

The shares of the loss already contain the number of windows of the whole step, so the gradient of
the step is the sum over workers. Parameters without a gradient on this worker count as zero.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kinesweep.core.collectives import get_rank_and_world_size

# Values that are sent at once: 64 MB of float32, so that the copy beside the gradients stays small.
_BUCKET_VALUES = 16_000_000


def add_gradients_of_workers(parameters: Sequence[nn.Parameter]) -> None:
    """Replace the gradient of each parameter by the sum over all workers.

    Args:
        parameters: Trained parameters, in the same order on all workers.
    """
    if get_rank_and_world_size()[1] == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            # All workers must send the same tensors, or the sum would hang or mix parameters.
            parameter.grad = torch.zeros_like(parameter)
    bucket: list[Tensor] = []
    for parameter in parameters:
        assert parameter.grad is not None
        bucket.append(parameter.grad)
        if sum(gradient.numel() for gradient in bucket) >= _BUCKET_VALUES:
            _add_bucket(bucket)
            bucket = []
    if bucket:
        _add_bucket(bucket)


def _add_bucket(gradients: list[Tensor]) -> None:
    """Add some gradients over all workers, in place."""
    # One message for many small tensors, whose latencies would add up.
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, total in zip(gradients, flat.split(sizes), strict=True):
        gradient.copy_(total.view_as(gradient))


def split_by_weight_decay(
    module: nn.Module, decay_biases: bool
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split the trained parameters of a module into those with and without weight decay.

    Args:
        module: Module whose parameters are split.
        decay_biases: Whether biases and norms, which have one dimension, are decayed too.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if decay_biases or parameter.ndim > 1]
    # A parameter may appear once only, so the rest is found by identity.
    decayed_ids = set(map(id, decayed))
    return decayed, [parameter for parameter in parameters if id(parameter) not in decayed_ids]


def add_losses_of_workers(shares: dict[str, Tensor]) -> dict[str, float]:
    """Add the shares of the losses of all workers; return name → value, the same on all."""
    # One collective for all of them: each costs a round trip.
    # Objectives return the same parts in the same order on every worker.
    totals = torch.stack(list(shares.values()))
    if get_rank_and_world_size()[1] > 1:
        dist.all_reduce(totals)
    return dict(zip(shares, totals.tolist(), strict=True))
