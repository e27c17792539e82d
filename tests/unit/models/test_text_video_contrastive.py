"""The contrastive loss of clips and texts against sums written out pair by pair."""

import math
import random

import pytest
import torch

from kinesweep.core.batch import IGNORE
from kinesweep.models.losses.text_video_contrastive import (
    compute_text_video_losses,
    find_equal_texts,
)


def cosine(a: list[float], b: list[float]) -> float:
    size = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / size


def by_hand(signs: list, texts: list, sentences: list[str], temperature: float) -> list[float]:
    losses = []
    for i, own in enumerate(sentences):
        rivals = [j for j, other in enumerate(sentences) if j == i or other != own]
        right = math.exp(cosine(signs[i], texts[i]) / temperature)
        among_texts = sum(math.exp(cosine(signs[i], texts[j]) / temperature) for j in rivals)
        among_signs = sum(math.exp(cosine(signs[j], texts[i]) / temperature) for j in rivals)
        losses.append(-(math.log(right / among_texts) + math.log(right / among_signs)) / 2)
    return losses


def test_fifty_random_batches() -> None:
    rng = random.Random(3)
    num_equal = 0
    for _ in range(50):
        clips, width = rng.randint(1, 9), rng.randint(2, 6)
        signs, texts = (
            [[rng.gauss(0, 2) for _ in range(width)] for _ in range(clips)] for _ in range(2)
        )
        kinds = [rng.randint(0, 6) for _ in range(clips)]
        labels = torch.tensor([[kind, 2, IGNORE] for kind in kinds])
        num_equal += clips - len(set(kinds))
        temperature = rng.uniform(0.05, 1)
        found = compute_text_video_losses(
            torch.tensor(signs, dtype=torch.float64),
            torch.tensor(texts, dtype=torch.float64),
            find_equal_texts(labels),
            1 / temperature,
        )
        wanted = by_hand(signs, texts, [str(kind) for kind in kinds], temperature)
        assert found.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert num_equal > 50  # the case of equal texts is among them


def test_a_clip_alone_or_among_its_own_text_costs_nothing() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    losses = compute_text_video_losses(x, torch.randn(3, 4), torch.ones(3, 3).bool(), 14.0)
    assert losses.tolist() == [0, 0, 0]
    losses.sum().backward()
    assert not x.grad.any()
