"""GradNorm: weights of several losses, learned so that their gradients stay balanced.

Chen et al. 2018, arXiv:1711.02257. For loss i with weight w_i and gradient norm
G_i = w_i · ‖∇L_i‖ over shared weights, the target is the mean of all G times r_i^α, where r_i is
the loss relative to its first value, divided by the mean of these. The weights descend along
Σ_i |G_i − target_i| with constant targets and are renormalized to the sum n. Since
G_i is linear in w_i, the gradient is sign(G_i − target_i) · ‖∇L_i‖, so no second derivative is
needed: one step costs a backward pass per loss down to the shared weights.

All state (weights, first losses, moments of Adam) lies in buffers, so a checkpoint of the module
resumes to the bit. SSVP-SLT's code takes sums where the paper has means, for both the norms and
the relative losses; at α = 1 the targets are equal, at other α they differ by 2^(1−α) for two
losses.
"""

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kinesweep.config.pretraining.gradnorm import GradNormConfig
from kinesweep.core.collectives import get_rank_and_world_size

# Adam's moments and ε, as in SSVP-SLT's optimizer.
_BETA_1, _BETA_2, _EPS = 0.9, 0.95, 1e-8
# A weight that reached 0 would stop its loss; the bound is far below any weight seen.
_MIN_WEIGHT = 1e-3


class GradNorm(nn.Module):
    """Learned weights of losses.

    Args:
        config: Asymmetry and learning rates.
        num_losses: Number of losses, n.
    """

    weights: Tensor
    first_losses: Tensor
    num_updates: Tensor
    moment_1: Tensor
    moment_2: Tensor

    def __init__(self, config: GradNormConfig, num_losses: int) -> None:
        super().__init__()
        self.config = config
        # Buffers and no parameters: the run's optimizer must not touch the weights.
        self.register_buffer("weights", torch.ones(num_losses))
        self.register_buffer("first_losses", torch.zeros(num_losses))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("moment_1", torch.zeros(num_losses))
        self.register_buffer("moment_2", torch.zeros(num_losses))

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of the losses; the weights are constants in the graph."""
        # A copy: `update` changes the weights before the graph of this sum is used.
        return (self.weights.clone() * torch.stack(list(losses))).sum()

    def update(
        self, losses: Sequence[Tensor], shared: Sequence[nn.Parameter], max_steps: int
    ) -> None:
        """Update the weights from the losses of one step, before or after its backward pass.

        The graph of the losses is kept. All ranks must call it, in the same order; gradients and
        losses are added over ranks, so all ranks get the same weights.

        Args:
            losses: Shares of this rank in the losses, scalars whose sums over ranks are the losses.
            shared: Weights on which all losses depend.
            max_steps: Number of steps of the run, for the learning rate.
        """
        norms_N = torch.stack([_compute_gradient_norm(loss, shared) for loss in losses])
        losses_N = _add_over_ranks(torch.stack([loss.detach() for loss in losses]).float())
        # The losses of the first step are the reference for how far each has fallen.
        if self.num_updates == 0:
            self.first_losses.copy_(losses_N)
        relative_N = losses_N / self.first_losses
        weighted_N = self.weights * norms_N
        target_N = weighted_N.mean() * (relative_N / relative_N.mean()) ** self.config.alpha
        self._descend(torch.sign(weighted_N - target_N) * norms_N, max_steps)

    def _descend(self, gradient_N: Tensor, max_steps: int) -> None:
        """Take one step of Adam and renormalize the weights to the sum n."""
        learning_rate = self._compute_learning_rate(int(self.num_updates), max_steps)
        self.num_updates += 1
        step = int(self.num_updates)
        self.moment_1.mul_(_BETA_1).add_(gradient_N, alpha=1 - _BETA_1)
        self.moment_2.mul_(_BETA_2).addcmul_(gradient_N, gradient_N, value=1 - _BETA_2)
        mean_N = self.moment_1 / (1 - _BETA_1**step)
        deviation_N = (self.moment_2 / (1 - _BETA_2**step)).sqrt() + _EPS
        weights_N = (self.weights - learning_rate * mean_N / deviation_N).clamp_min(_MIN_WEIGHT)
        self.weights.copy_(weights_N * (len(weights_N) / weights_N.sum()))

    def _compute_learning_rate(self, step: int, max_steps: int) -> float:
        """Return the learning rate: linear warm-up, then half a cosine to the smallest rate.

        Args:
            step: Number of updates before.
            max_steps: Number of steps of the run.
        """
        peak, smallest = self.config.learning_rate, self.config.min_learning_rate
        warmup = self.config.warmup_steps
        # As for the run itself, the first step is not taken with a rate of 0.
        if step < warmup:
            return peak * (step + 1) / warmup
        share = min(1.0, (step - warmup) / max(1, max_steps - warmup))
        return smallest + (peak - smallest) * (1 + math.cos(math.pi * share)) / 2


def _compute_gradient_norm(loss: Tensor, shared: Sequence[nn.Parameter]) -> Tensor:
    """Compute the L2 norm of a loss's gradient with respect to the shared weights, a scalar."""
    gradients = torch.autograd.grad(loss, list(shared), retain_graph=True)
    # Added over ranks before the norm: the norm of a sum is not the sum of norms.
    flat = torch.cat([gradient.flatten().float() for gradient in gradients])
    return torch.linalg.vector_norm(_add_over_ranks(flat))


def _add_over_ranks(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks, a collective; a single process gets `x`."""
    if get_rank_and_world_size()[1] > 1:
        dist.all_reduce(x)
    return x
