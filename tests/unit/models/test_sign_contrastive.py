"""The sign contrastive loss against loops over frames, neighbors and distant frames."""

import math
import random

import pytest
import torch

from kinesweep.config.recipe.objectives.sign_contrastive import SignContrastiveConfig
from kinesweep.models.losses import sign_contrastive
from kinesweep.models.losses.sign_contrastive import (
    compute_margins,
    compute_sign_contrastive_losses,
)


def softplus(x: float) -> float:
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def by_hand(clip: list[list[float]], margin: int, most: float) -> float:
    losses = []
    for i, own in enumerate(clip):
        apart = [sum(abs(a - b) for a, b in zip(own, x, strict=True)) for x in clip]
        near = [apart[j] for j in (i - 1, i + 1) if 0 <= j < len(clip)]
        far = [apart[j] for j in range(len(clip)) if abs(i - j) > margin]
        if far:
            pulled = sum(softplus(d - most) for d in near) / len(near)
            pushed = sum(softplus(most - d) for d in far) / len(far)
            losses.append(pulled + pushed)
    return sum(losses) / len(losses) if losses else 0.0


def margin_by_hand(vectors: int, tokens: int) -> int:
    wanted = max(20, int((vectors // tokens + 1) * 4.6))
    return max(1, min(wanted, (vectors - 30) // 2))


def test_fifty_random_batches() -> None:
    rng = random.Random(5)
    num_margins = set()
    for _ in range(50):
        clips, width, most = rng.randint(1, 4), rng.randint(1, 5), rng.uniform(0.5, 6)
        lengths = [rng.randint(1, 90) for _ in range(clips)]
        tokens = [rng.randint(1, 9) for _ in range(clips)]
        x_BTE = torch.randn(clips, max(lengths) + rng.randint(0, 3), width, dtype=torch.float64)
        mask_BT = torch.arange(x_BTE.shape[1]) < torch.tensor(lengths)[:, None]
        margin_B = compute_margins(
            torch.tensor(lengths), torch.tensor(tokens), SignContrastiveConfig()
        )
        pairs = zip(lengths, tokens, strict=True)
        assert margin_B.tolist() == [margin_by_hand(n, m) for n, m in pairs]
        num_margins |= set(margin_B.tolist())
        found = compute_sign_contrastive_losses(x_BTE, mask_BT, margin_B, most)
        wanted = [
            by_hand(x_BTE[row, :length].tolist(), int(margin_B[row]), most)
            for row, length in enumerate(lengths)
        ]
        assert found.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert {1, 20} < num_margins


@pytest.mark.parametrize("most", [1, 2**24])
def test_its_gradient_is_that_of_the_distances(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """In blocks of one vector, and all at once."""
    monkeypatch.setattr(sign_contrastive, "_MAX_DIFFERENCES", most)
    x_BTE = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    mask_BT = torch.arange(7) < torch.tensor([7, 5])[:, None]

    def loss(x: torch.Tensor) -> torch.Tensor:
        return compute_sign_contrastive_losses(x, mask_BT, torch.tensor([2, 1]), 1.0).sum()

    assert torch.autograd.gradcheck(loss, (x_BTE,))
    loss(x_BTE).backward()
    assert not x_BTE.grad[1, 5:].any() and x_BTE.grad[1, :5].all()
