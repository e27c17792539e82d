"""Masked tokens depend on the clip and the draw alone, and spare the end token."""

import pytest
import torch

from kinesweep.config.recipe.objectives.text_alignment import RestorationConfig
from kinesweep.core.batch import IGNORE
from kinesweep.models.objectives.masked_text import draw_masked_tokens

LENGTHS = (1, 2, 9, 21)
IDS = [f"clip{length}" for length in LENGTHS]


def labels(more: int = 0) -> torch.Tensor:
    ids = torch.full((len(LENGTHS), max(LENGTHS) + more), IGNORE)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = 5
    return ids


@pytest.mark.parametrize("masking", ["last", "random"])
def test_they_repeat_whatever_the_padding_and_the_batch(masking: str) -> None:
    config = RestorationConfig(masking=masking, mask_share=0.4)
    found = draw_masked_tokens(labels(), IDS, config, 7, 3)
    assert torch.equal(draw_masked_tokens(labels(4), IDS, config, 7, 3)[:, :21], found)
    assert torch.equal(draw_masked_tokens(labels()[2:], IDS[2:], config, 7, 3), found[2:])
    assert not torch.equal(draw_masked_tokens(labels(), IDS, config, 7, 4), found)
    assert not torch.equal(draw_masked_tokens(labels(), IDS, config, 8, 3), found)
    for row, length in enumerate(LENGTHS):
        assert not found[row, length - 1 :].any()


def test_how_many() -> None:
    spread = RestorationConfig(masking="random", mask_share=0.15)
    for draw in range(30):
        assert draw_masked_tokens(labels(), IDS, spread, draw).sum(1).tolist() == [0, 0, 1, 3]
    ends = RestorationConfig(masking="last", mask_share=0.5)
    counts = []
    for draw in range(100):
        masked = draw_masked_tokens(labels(), IDS, ends, draw)[3, :20]
        counts.append(int(masked.sum()))
        assert masked[20 - counts[-1] :].all()
    assert set(counts) == set(range(1, 11))  # ceil of 20 tokens times 0 to 0.5
