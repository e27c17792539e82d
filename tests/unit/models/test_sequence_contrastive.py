"""CARL's loss against the paper's sums written out frame by frame."""

import math

import pytest
import torch
from torch.nn import functional

from kinesweep.models.losses.sequence_contrastive import compute_sequence_contrastive_loss

TAU, SIGMA = 0.2, 3.0
LENGTHS = ((4, 6), (5, 3))


def views(more: int = 0):
    """Two clips of two views each, with rubbish in the padding."""
    torch.manual_seed(4)
    clips = []
    for lengths in LENGTHS:
        clip = []
        for frames in lengths:
            z = functional.normalize(torch.randn(frames, 3, dtype=torch.float64), dim=-1)
            clip.append((z, torch.rand(frames, dtype=torch.float64).sort().values * 20))
        clips.append(clip)
    padded = []
    for side in (0, 1):
        longest = max(lengths[side] for lengths in LENGTHS) + more
        z = torch.randn(len(clips), longest, 3, dtype=torch.float64) * 9
        mask = torch.zeros(len(clips), longest, dtype=torch.bool)
        time = torch.full((len(clips), longest), 7.0, dtype=torch.float64)
        for row, clip in enumerate(clips):
            frames = len(clip[side][0])
            z[row, :frames], time[row, :frames] = clip[side]
            mask[row, :frames] = True
        padded += [z, mask, time]
    return clips, padded


def one_way(first, second) -> list[float]:
    losses = []
    for z_i, s_i in zip(*first, strict=True):
        gauss = [
            math.exp(-((s_i - s_j) ** 2) / (2 * SIGMA**2)) / (SIGMA * math.sqrt(2 * math.pi))
            for s_j in second[1]
        ]
        alike = [math.exp(float(z_i @ z_j) / TAU) for z_j in second[0]]
        losses.append(
            -sum(
                (g / sum(gauss)) * math.log(a / sum(alike))
                for g, a in zip(gauss, alike, strict=True)
            )
        )
    return losses


def test_it_is_the_paper_s():
    clips, padded = views()
    each = [loss for a, b in clips for loss in (*one_way(a, b), *one_way(b, a))]
    found = compute_sequence_contrastive_loss(*padded, temperature=TAU, sigma=SIGMA)
    assert float(found) == pytest.approx(sum(each) / len(each), abs=1e-12)


def test_padding_changes_nothing_and_gets_no_gradient():
    _, tight = views()
    _, loose = views(more=7)
    found = compute_sequence_contrastive_loss(*loose, temperature=TAU, sigma=SIGMA)
    torch.testing.assert_close(
        found, compute_sequence_contrastive_loss(*tight, temperature=TAU, sigma=SIGMA)
    )
    u, v = loose[0].requires_grad_(), loose[3].requires_grad_()
    compute_sequence_contrastive_loss(
        u, *loose[1:3], v, *loose[4:], temperature=TAU, sigma=SIGMA
    ).backward()
    for x, mask in ((u, loose[1]), (v, loose[4])):
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert not x.grad[~mask].any()
        assert x.grad[mask].any(dim=-1).all()


def test_views_far_apart_in_time_stay_finite():
    _, padded = views()
    padded[5] = padded[5] + 1e4
    assert compute_sequence_contrastive_loss(*padded, temperature=TAU, sigma=SIGMA).isfinite()


def test_frames_of_the_same_time_should_be_alike():
    angle = torch.linspace(0, math.pi, 12)
    z = torch.stack([angle.cos(), angle.sin()], dim=1)[None]
    mask, time = torch.ones(1, 12, dtype=torch.bool), torch.arange(12.0)[None]
    straight = compute_sequence_contrastive_loss(
        z, mask, time, z, mask, time, temperature=TAU, sigma=1.0
    )
    turned = compute_sequence_contrastive_loss(
        z, mask, time, z, mask, time.flip(1), temperature=TAU, sigma=1.0
    )
    assert straight < turned
