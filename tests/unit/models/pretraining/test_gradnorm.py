"""GradNorm's weights follow the formulas of the paper and continue from a saved state."""

import pytest
import torch
from torch import Tensor, nn

from kinesweep.config.pretraining.gradnorm import GradNormConfig
from kinesweep.models.pretraining.gradnorm import GradNorm

_STEPS = 40


def losses_of(shared: nn.Parameter, step: int) -> list[Tensor]:
    """Two losses whose gradients differ by a factor of 100; the second one does not fall."""
    return [10 * (shared**2).sum() / (1 + step), (0.1 * shared).sum() + 5]


def balanced(alpha: float, steps: int = _STEPS) -> GradNorm:
    gradnorm = GradNorm(GradNormConfig(alpha=alpha, learning_rate=0.025), 2)
    for step in range(steps):
        shared = nn.Parameter(torch.tensor([1.0, 2.0]))
        gradnorm.update(losses_of(shared, step), [shared], _STEPS)
    return gradnorm


def test_one_update_is_that_of_the_paper() -> None:
    """∂Σ|G − target|/∂w by autograd, Adam's first step, renormalization."""
    gradnorm = GradNorm(GradNormConfig(alpha=0.5, learning_rate=0.025), 2)
    gradnorm.first_losses.copy_(torch.tensor([80.0, 6.0]))
    gradnorm.num_updates += 1  # the first losses are known
    gradnorm.weights.copy_(torch.tensor([0.5, 1.5]))
    shared = nn.Parameter(torch.tensor([1.0, 2.0]))
    losses = losses_of(shared, 0)
    weights = gradnorm.weights.clone().requires_grad_()
    norms = torch.stack(
        [torch.autograd.grad(x, shared, retain_graph=True)[0].norm() for x in losses]
    )
    relative = torch.stack([x.detach() for x in losses]) / torch.tensor([80.0, 6.0])
    target = (weights * norms).mean() * (relative / relative.mean()) ** 0.5
    (weights * norms - target.detach()).abs().sum().backward()
    assert weights.grad is not None
    gradnorm.update(losses, [shared], 10**9)
    first, second = 0.1 * weights.grad, 0.05 * weights.grad**2
    step = (first / (1 - 0.9**2)) / ((second / (1 - 0.95**2)).sqrt() + 1e-8)
    expected = weights.detach() - 0.025 * step
    assert torch.allclose(gradnorm.weights, expected * 2 / expected.sum(), atol=1e-6)


def test_the_weights_keep_their_sum_and_balance_the_norms() -> None:
    weights = balanced(alpha=0.0).weights
    assert float(weights.sum()) == pytest.approx(2)
    assert weights[1] > 1 > weights[0] > 0  # the loss with the small gradient gains


def test_a_larger_alpha_prefers_the_loss_that_does_not_fall() -> None:
    """Of two losses with equal gradients."""
    gradnorm = GradNorm(GradNormConfig(alpha=1.5, learning_rate=0.025), 2)
    for step in range(_STEPS):
        shared = nn.Parameter(torch.tensor([1.0, 2.0]))
        losses = [shared.sum() + 5 / (1 + step), shared.sum() + 5]
        gradnorm.update(losses, [shared], _STEPS)
    assert gradnorm.weights[1] > 1.1


def test_a_saved_state_continues_to_the_bit() -> None:
    whole, first = balanced(1.0), balanced(1.0, steps=17)
    second = GradNorm(GradNormConfig(alpha=1.0, learning_rate=0.025), 2)
    second.load_state_dict(first.state_dict())
    for step in range(17, _STEPS):
        shared = nn.Parameter(torch.tensor([1.0, 2.0]))
        second.update(losses_of(shared, step), [shared], _STEPS)
    states = zip(whole.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(left, right) for left, right in states)


def test_the_learning_rate_warms_up_and_falls() -> None:
    gradnorm = GradNorm(GradNormConfig(warmup_steps=4), 2)
    rates = [gradnorm._compute_learning_rate(step, 20) for step in range(21)]
    assert rates[:5] == pytest.approx([0.00025, 0.0005, 0.00075, 0.001, 0.001])
    assert rates[-1] == pytest.approx(1e-5) and sorted(rates[4:], reverse=True) == rates[4:]


def test_weights_are_no_parameters_of_the_run() -> None:
    assert not list(GradNorm(GradNormConfig(), 2).parameters())
