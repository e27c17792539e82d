"""The loss of a batch is that of its tokens, each sample run alone: 200 random batches.

A batch mixes streams, prompts, tokens behind the frames and texts of unequal length; whatever
padding, splicing or shifting did wrong would show as a difference between samples together and
alone; in float64, so that rounding does not. With smoothing the share of every token of the
vocabulary is part of a token's loss.
"""

import random
from typing import Any

import pytest
import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from tolerances import assert_same

pytestmark = pytest.mark.usefixtures("float64")

WORDS = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
WIDTHS = {"pose": 5, "dino": 3}
SCRATCH: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "initializer_range": 0.3,
    },
    "t5": {
        "d_model": 16,
        "num_layers": 2,
        "d_ff": 32,
        "num_heads": 2,
        "d_kv": 8,
        "initializer_factor": 2.0,
    },
}
Sample = dict[str, Any]
SMOOTHINGS = (0.0, 0.1)


def built(architecture: str) -> Translator:
    kind = "causal" if architecture == "llama" else "seq2seq"
    scratch = {"architecture": architecture, **SCRATCH[architecture]}
    plain = {"backbone": {"kind": kind, "scratch": scratch}}
    seed_everything(1)
    return build_translator(ModelConfig.model_validate(plain), WIDTHS, WORDS).eval()


def sample(rng: random.Random) -> Sample:
    """Plain tensors of one clip, without padding."""

    def tokens(least: int, most: int) -> torch.Tensor:
        return torch.tensor([rng.randrange(3, 30) for _ in range(rng.randint(least, most))]).long()

    return {
        "pose": torch.randn(rng.randint(1, 12), 5),
        "dino": torch.randn(rng.randint(1, 6), 3),
        "prompt": tokens(0, 5),
        "after": tokens(0, 4),
        "text": torch.cat([tokens(0, 7), torch.tensor([2])]),
    }


def padded(parts: list[torch.Tensor], fill: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Parts side by side, padded on the right with what must not matter, and their mask."""
    longest = max(len(part) for part in parts)
    out = torch.full((len(parts), longest, *parts[0].shape[1:]), fill, dtype=parts[0].dtype)
    mask = torch.zeros(len(parts), longest, dtype=torch.bool)
    for row, part in enumerate(parts):
        out[row, : len(part)] = part
        mask[row, : len(part)] = True
    return out, mask


def together(samples: list[Sample]) -> dict[str, Any]:
    """Keyword arguments of `Translator.forward`."""
    pairs = {name: padded([s[name] for s in samples], 9.0) for name in WIDTHS}
    prompt_ids, prompt_mask = padded([s["prompt"] for s in samples], 7)
    suffix_ids, after_mask = padded([s["after"] for s in samples], 8)
    return {
        "streams": {name: pair[0] for name, pair in pairs.items()},
        "frame_masks": {name: pair[1] for name, pair in pairs.items()},
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "suffix_ids": suffix_ids,
        "suffix_mask": after_mask,
        "labels": padded([s["text"] for s in samples], -100)[0],
    }


def token_losses(model: Translator, one: Sample) -> dict[float, list[float]]:
    """Smoothing → loss of each token of a sample that is run alone, by its definition."""
    log_p_LV = model(**together([one])).logits[0].log_softmax(dim=1)
    right_L = log_p_LV[torch.arange(len(one["text"])), one["text"]]
    return {
        smoothing: (-(1 - smoothing) * right_L - smoothing * log_p_LV.mean(dim=1)).tolist()
        for smoothing in SMOOTHINGS
    }


@pytest.mark.parametrize("architecture", SCRATCH)
@torch.no_grad()
def test_a_batchs_loss_is_that_of_its_tokens(architecture: str) -> None:
    model = built(architecture)
    rng = random.Random(4)
    found, wanted = [], []
    for number in range(100):
        torch.manual_seed(number)
        samples = [sample(rng) for _ in range(rng.randint(2, 6))]
        alone = [token_losses(model, one) for one in samples]
        for smoothing in SMOOTHINGS:
            model.config.label_smoothing = smoothing
            losses = [loss for each in alone for loss in each[smoothing]]
            found.append(float(model(**together(samples)).loss))
            wanted.append(sum(losses) / len(losses))
    assert_same(found, wanted)
