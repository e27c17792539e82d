"""Tiny models and batches. Vocabulary: 0 padding, 1 beginning, 2 end, words from 3 on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import IGNORE, Batch
from kinesweep.core.seeds import seed_everything
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from tolerances import float64  # noqa: F401
from trees import made, over

WORDS = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
M2M = {
    "architecture": "m2m_100",
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "init_std": 0.3,
}
T5 = {
    "architecture": "t5",
    "d_model": 16,
    "num_layers": 2,
    "d_ff": 32,
    "num_heads": 2,
    "d_kv": 8,
    "initializer_factor": 2.0,
}
SCRATCH: dict[str, dict[str, Any]] = {"m2m_100": M2M, "bart": {**M2M, "architecture": "bart"}}
SCRATCH["t5"] = T5


@pytest.fixture
def words() -> Vocabulary:
    return WORDS


@pytest.fixture
def recipe() -> Callable[..., ModelConfig]:
    """A recipe part: `recipe("bart", dropout=0.0)`, keys of `scratch` laid over the tiny ones."""

    def make(architecture: str = "m2m_100", encoder: str = "linear", **keys: Any) -> ModelConfig:
        tiny = SCRATCH.get(architecture, M2M)
        scratch = {**tiny, "architecture": architecture, **keys}
        plain = {"encoder": {"kind": encoder}, "backbone": {"scratch": scratch}}
        return ModelConfig.model_validate(plain)

    return make


def in_two_parts(num_points: int) -> Skeleton:
    """A skeleton of a body and of a hand of one point."""
    body = tuple(f"p{index}" for index in range(num_points - 1))
    return over(PointLayout((("BODY", body), ("LEFT_HAND", ("wrist",)))))


@pytest.fixture
def translator(recipe: Callable[..., ModelConfig]) -> Callable[..., Translator]:
    """A seeded model over streams `pose` (5) and `dino` (3): `translator("t5", smoothing=0.1)`."""

    def make(architecture: str = "m2m_100", smoothing: float = 0.0, **keys: Any) -> Translator:
        seed_everything(1)
        widths = {"pose": 5, "dino": 3}  # not in the alphabet's order, on purpose
        # Points of one coordinate, for encoders that want to know.
        skeletons = {name: made([ROOT, *range(width - 1)]) for name, width in widths.items()}
        if keys.get("encoder") == "part_graph":  # which wants a body and a hand
            skeletons = {name: in_two_parts(width) for name, width in widths.items()}
        config = recipe(architecture, **keys)
        return build_translator(config, widths, WORDS, smoothing, skeletons=skeletons)

    return make


@pytest.fixture
def batch() -> Batch:
    """Four clips whose streams, prompts, decoder prompts and texts all differ in length."""
    torch.manual_seed(7)

    def mask(*lengths: int) -> torch.Tensor:
        return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

    labels_BL = torch.randint(3, 30, (4, 6)).masked_fill(~mask(6, 3, 5, 2), IGNORE)
    forced_mask_BF = mask(1, 2, 0, 2)
    return Batch(
        clip_ids=("a", "b", "c", "d"),
        streams={"pose": torch.randn(4, 7, 5), "dino": torch.randn(4, 4, 3)},
        frame_masks={"pose": mask(7, 3, 5, 1), "dino": mask(2, 4, 3, 1)},
        prompt_ids_BP=torch.randint(3, 30, (4, 3)),
        prompt_mask_BP=mask(0, 3, 1, 2),
        suffix_ids_BA=torch.randint(3, 30, (4, 0)),
        suffix_mask_BA=mask(0, 0, 0, 0),
        labels_BL=labels_BL,
        forced_ids_BF=torch.randint(3, 30, (4, 2)) * forced_mask_BF,
        forced_mask_BF=forced_mask_BF,
    )


@pytest.fixture
def alone() -> Callable[[Batch, int], Batch]:
    """One clip of a batch, cut to its own lengths."""

    def cut(batch: Batch, row: int) -> Batch:
        def trim(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return values[row : row + 1, : int(mask[row].sum())]

        masks = batch.frame_masks
        return Batch(
            clip_ids=batch.clip_ids[row : row + 1],
            streams={name: trim(x, masks[name]) for name, x in batch.streams.items()},
            frame_masks={name: trim(mask, mask) for name, mask in masks.items()},
            prompt_ids_BP=trim(batch.prompt_ids_BP, batch.prompt_mask_BP),
            prompt_mask_BP=trim(batch.prompt_mask_BP, batch.prompt_mask_BP),
            suffix_ids_BA=trim(batch.suffix_ids_BA, batch.suffix_mask_BA),
            suffix_mask_BA=trim(batch.suffix_mask_BA, batch.suffix_mask_BA),
            labels_BL=trim(batch.labels_BL, batch.labels_BL != IGNORE),
            forced_ids_BF=trim(batch.forced_ids_BF, batch.forced_mask_BF),
            forced_mask_BF=trim(batch.forced_mask_BF, batch.forced_mask_BF),
        )

    return cut
