"""Sampling whose draws depend on a seed and the clip, and not on the batch.

Hugging Face draws the tokens of a whole batch from one global generator, so a text would change
with the batch, the number of workers or what was generated before. Here each clip has one random
number for each position, a function of seed, clip and position. It selects the token at that share
of the probability mass, in the order of the vocabulary (inverse transform sampling). All other
scores become minus infinity, so that greedy decoding takes the drawn token.

The scores are processed on the CPU: the cumulative sums have no deterministic kernel on GPUs.

Shapes: B clips, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from kinesweep.core.seeds import create_generator


@dataclass(frozen=True)
class SamplingSettings:
    """The settings of sampling.

    Attributes:
        seed: Random seed.
        keys: Name of each clip of the batch; equal names have equal random numbers.
        temperature: Divisor of the logits.
        top_k: Number of the most probable tokens that can be drawn; None: all.
        top_p: The most probable tokens with this total probability can be drawn; None: all.
    """

    seed: int
    keys: Sequence[str]
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None


class SamplingLogitsProcessor(LogitsProcessor):
    """A logits processor that draws the next token of each clip; it must be the last one.

    Args:
        settings: Settings of sampling.
        num_before: Number of tokens of a row that precede the text.
    """

    def __init__(self, settings: SamplingSettings, num_before: int) -> None:
        self._num_before = num_before
        self._generators = [
            create_generator(settings.seed, "generated text", key) for key in settings.keys
        ]
        self._warpers = LogitsProcessorList()
        if settings.temperature != 1:
            # In Hugging Face's order: the temperature changes which tokens `top_p` keeps.
            self._warpers.append(TemperatureLogitsWarper(settings.temperature))
        if settings.top_k is not None:
            self._warpers.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p is not None:
            self._warpers.append(TopPLogitsWarper(settings.top_p))
        # Numbers drawn so far, (positions, B): each clip reads its own generator in order.
        self._draws: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set the score of the drawn token to 0 and all others to minus infinity."""
        # In float32, because warpers compare probabilities that bfloat16 rounds to equal values.
        cpu_ids, cpu_scores = input_ids.cpu(), scores.float().cpu()
        # In float64: the sum over a large vocabulary would lose the rarest tokens.
        probabilities_BV = self._warpers(cpu_ids, cpu_scores).double().softmax(dim=1)
        cumulative_BV = probabilities_BV.cumsum(dim=1)
        # The total differs from 1 by rounding; a number above it would select no token.
        threshold_B = self._get_draws(input_ids.shape[1] - self._num_before) * cumulative_BV[:, -1]
        drawn_B = torch.searchsorted(cumulative_BV, threshold_B[:, None], right=True)[:, 0]
        drawn_B = drawn_B.clamp(max=scores.shape[1] - 1).to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn_B[:, None], 0.0)

    def _get_draws(self, position: int) -> Tensor:
        """Return the random number of each clip at a position, float64 (B,), in [0, 1)."""
        # A position may be asked for again, and then must get the same numbers.
        while len(self._draws) <= position:
            self._draws.append(
                torch.tensor([rng.random() for rng in self._generators], dtype=torch.float64)
            )
        return self._draws[position]
