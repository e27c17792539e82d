"""TCC against the paper's sums written out frame by frame."""

import math

import pytest
import torch
from torch.nn import functional

from kinesweep.models.losses.cycle_consistency import (
    compute_cycle_classification_loss,
    compute_cycle_regression_loss,
)

TAU, LAMBDA = 0.3, 0.01
LENGTHS = ((4, 6), (5, 3))


def unit(*shape: int) -> torch.Tensor:
    return functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def pairs(more: int = 0):
    """Two pairs of clips of other lengths, with rubbish in the padding."""
    generator = torch.manual_seed(3)
    clips = [(unit(t, 3), unit(s, 3)) for t, s in LENGTHS]
    padded = []
    for side in (0, 1):
        longest = max(lengths[side] for lengths in LENGTHS) + more
        x = torch.randn(len(clips), longest, 3, dtype=torch.float64, generator=generator) * 9
        mask = torch.zeros(len(clips), longest, dtype=torch.bool)
        for row, clip in enumerate(clips):
            x[row, : len(clip[side])], mask[row, : len(clip[side])] = clip[side], True
        padded += [x, mask]
    return clips, padded


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def ways_back(u, v):
    """For each frame of `u`, the weights of all frames of `u` on the way back."""
    for u_i in u:
        alpha = softmax([-float(((u_i - v_j) ** 2).sum()) / TAU for v_j in v])
        soft = sum(weight * v_j for weight, v_j in zip(alpha, v, strict=True))
        yield softmax([-float(((soft - u_k) ** 2).sum()) / TAU for u_k in u])


def test_regression_is_the_paper_s():
    clips, padded = pairs()
    each = []
    for u, v in clips:
        for i, beta in enumerate(ways_back(u, v)):
            mu = sum(weight * k / len(u) for k, weight in enumerate(beta))
            variance = sum(weight * (k / len(u) - mu) ** 2 for k, weight in enumerate(beta))
            variance += 1 / 12 / len(u) ** 2
            each.append((i / len(u) - mu) ** 2 / variance + LAMBDA * math.log(variance**0.5))
    found = compute_cycle_regression_loss(*padded, TAU, LAMBDA)
    assert float(found) == pytest.approx(sum(each) / len(each), abs=1e-12)


def test_classification_is_the_paper_s():
    clips, padded = pairs()
    each = [-math.log(beta[i]) for u, v in clips for i, beta in enumerate(ways_back(u, v))]
    found = compute_cycle_classification_loss(*padded, TAU)
    assert float(found) == pytest.approx(sum(each) / len(each), abs=1e-12)


@pytest.mark.parametrize(
    ("objective", "extra"),
    [(compute_cycle_regression_loss, (TAU, LAMBDA)), (compute_cycle_classification_loss, (TAU,))],
)
def test_padding_changes_nothing_and_gets_no_gradient(objective, extra):
    _, tight = pairs()
    _, loose = pairs(more=7)
    torch.testing.assert_close(objective(*loose, *extra), objective(*tight, *extra))
    u, v = loose[0].requires_grad_(), loose[2].requires_grad_()
    objective(u, loose[1], v, loose[3], *extra).backward()
    for x, mask in ((u, loose[1]), (v, loose[3])):
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert not x.grad[~mask].any()
        assert x.grad[mask].any(dim=-1).all()


@pytest.mark.parametrize(
    ("objective", "extra"),
    [(compute_cycle_regression_loss, (0.05, LAMBDA)), (compute_cycle_classification_loss, (0.05,))],
)
def test_clips_in_step_lose_less_than_clips_out_of_it(objective, extra):
    angle = torch.linspace(0, math.pi, 12)
    u = torch.stack([angle.cos(), angle.sin()], dim=1)[None]
    mask = torch.ones(1, 12, dtype=torch.bool)
    # Frames in any order still cycle back; a clip that shows one moment alone does not.
    still = u[:, :1].expand(1, 12, 2)
    assert objective(u, mask, u, mask, *extra) < objective(u, mask, still, mask, *extra)
