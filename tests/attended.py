"""Attention made up over a skeleton that moves; for pages that show it."""

import numpy as np
import torch

from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.evaluation.attention_inference import GeneratedToken, TranslationWithAttention
from kinesweep.models.attention_maps import AttentionMap, AttentionSpan
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.report.attention import AttentionPage
from kinesweep.report.pose_scene import build_scene

LAYERS, HEADS, TOKENS = 2, 3, 4


def made_up(
    places: list[AttentionSpan], joints: bool = False, text: str = "he runs"
) -> AttentionPage:
    """A page over random weights, rows summing to 1."""
    torch.manual_seed(3)
    weights = torch.softmax(3 * torch.randn(LAYERS, HEADS, TOKENS, places[-1].end), dim=-1)
    tokens = [
        GeneratedToken(n, word, n == 0) for n, word in enumerate(("de", " he", " runs", text[:9]))
    ]
    nodes = {"skeleton": torch.rand(5, 22) * 3} if joints else {}
    x_TD = np.random.default_rng(0).random((10, 66), np.float32) - 0.5
    x_TD.reshape(10, 22, 3)[2, 7] = 0
    scene = build_scene("skeleton", x_TD, SMPL_22.layout, 20.0)
    attended = TranslationWithAttention(
        text, tuple(tokens), AttentionMap(weights, tuple(places), nodes)
    )
    rates, lengths = {"skeleton": 20.0, "video": 5.0}, {"skeleton": 10, "video": 3}
    return AttentionPage("clip 1", "a model", attended, rates, lengths, [scene], [text], [])


def frames(first: int, count: int, step: int, stream: str = "skeleton") -> AttentionSpan:
    """A stream whose vectors stand for `step` frames each."""
    stands = tuple(SourceSpan(step * n, step * n + step) for n in range(count))
    return AttentionSpan("stream", first, first + count, stream, stands)
