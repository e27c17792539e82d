"""Sampling, the smallest length of a text, and penalties on repetition."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from kinesweep.core.batch import Batch
from kinesweep.models import Translator
from kinesweep.models.generation import TextOptions
from kinesweep.models.logits.sampling import SamplingLogitsProcessor, SamplingSettings
from kinesweep.models.logits.text_restrictions import MinTextLengthLogitsProcessor

Make = Callable[..., Translator]
LLAMA = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 2, "initializer_range": 0.3}


@pytest.fixture(params=["m2m_100", "llama"])
def model(request: pytest.FixtureRequest, translator: Make, recipe: Any) -> Translator:
    if request.param == "m2m_100":
        return translator("m2m_100").eval()
    from kinesweep.config.recipe.model import ModelConfig
    from kinesweep.core.seeds import seed_everything
    from kinesweep.core.vocabulary import Vocabulary
    from kinesweep.models import build_translator

    seed_everything(1)
    backbone = {"kind": "causal", "scratch": {"architecture": "llama", **LLAMA}}
    config = ModelConfig.model_validate({"encoder": {"kind": "linear"}, "backbone": backbone})
    words = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
    return build_translator(config, {"pose": 5, "dino": 3}, words, 0.0).eval()


def texts(model: Translator, batch: Batch, options: TextOptions, **keys: Any) -> dict[str, list]:
    """Clip → its tokens without padding."""
    ids_BL = model.generate(
        **batch.get_generate_kwargs(),
        forced_ids=batch.forced_ids_BF,
        forced_mask=batch.forced_mask_BF,
        options=options,
        **{"max_new_tokens": 8, **keys},
    )
    rows = [[i for i in row if i] for row in ids_BL.tolist()]
    return dict(zip(batch.clip_ids, rows, strict=True))


def sampling(batch: Batch, seed: int = 3, **keys: Any) -> TextOptions:
    return TextOptions(sampling=SamplingSettings(seed, batch.clip_ids, **keys))


def test_draws_depend_on_seed_and_clip_alone(
    model: Translator, batch: Batch, alone: Callable[[Batch, int], Batch]
) -> None:
    drawn = texts(model, batch, sampling(batch))
    torch.manual_seed(99)
    assert texts(model, batch, sampling(batch)) == drawn
    for row in range(4):
        one = alone(batch, row)
        assert texts(model, one, sampling(one)) == {one.clip_ids[0]: drawn[one.clip_ids[0]]}
    assert texts(model, batch, sampling(batch, seed=4)) != drawn
    assert texts(model, batch, TextOptions()) != drawn
    other = replace(batch, clip_ids=("e", "f", "g", "h"))
    assert list(texts(model, other, sampling(other)).values()) != list(drawn.values())


def test_one_token_to_draw_from_is_greedy_search(model: Translator, batch: Batch) -> None:
    greedy = texts(model, batch, TextOptions())
    assert texts(model, batch, sampling(batch, top_k=1)) == greedy
    assert texts(model, batch, sampling(batch, top_p=1e-9)) == greedy
    assert texts(model, batch, sampling(batch, temperature=1e-4)) == greedy


def test_tokens_come_as_often_as_they_are_likely() -> None:
    """4,000 clips draw from one distribution; a share may miss by four standard errors."""
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(4000, 1)
    keys = [str(n) for n in range(4000)]
    nothing = torch.zeros(4000, 1, dtype=torch.long)

    def shares(**settings: Any) -> torch.Tensor:
        draw = SamplingLogitsProcessor(SamplingSettings(0, keys, **settings), num_before=1)
        drawn = draw(nothing, scores)
        assert ((drawn == 0).sum(dim=1) == 1).all() and drawn.isneginf().sum() == 12000
        return drawn.argmax(dim=1).bincount(minlength=4) / 4000

    for settings, expected in (
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.9}, [0.5263, 0.3158, 0.1579, 0]),
        ({"temperature": 0.5}, [0.6849, 0.2466, 0.0616, 0.0068]),
    ):
        torch.testing.assert_close(shares(**settings), torch.tensor(expected), atol=0.032, rtol=0)


def test_positions_of_a_text_have_numbers_of_their_own() -> None:
    draw = SamplingLogitsProcessor(SamplingSettings(0, ["clip"]), num_before=0)
    scores = torch.zeros(1, 1000)
    drawn = [int(draw(torch.zeros(1, n), scores).argmax()) for n in range(20)]
    assert len(set(drawn)) > 10


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_text_has_the_tokens_it_must_have_beside_its_prompt(
    model: Translator, batch: Batch, num_beams: int
) -> None:
    # The end of a sentence is the likeliest token: without a limit most texts are empty.
    with torch.no_grad():
        head = model.backbone.get_output_embeddings().weight
        head[2] = 3 * head.abs().max() * torch.sign(head[2])
    forced = dict(zip(batch.clip_ids, batch.forced_mask_BF.sum(dim=1).tolist(), strict=True))

    def lengths(options: TextOptions) -> dict[str, int]:
        found = texts(model, batch, options, num_beams=num_beams, max_new_tokens=9)
        return {clip: [*ids[forced[clip] :], 2].index(2) for clip, ids in found.items()}

    assert min(lengths(TextOptions()).values()) < 4
    limited = lengths(TextOptions(min_new_tokens=4))
    assert min(limited.values()) >= 4


def test_the_end_is_forbidden_row_by_row() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    limit = MinTextLengthLogitsProcessor(2, eos_id=1, num_before=1, forced_mask_BF=mask)
    scores = torch.zeros(4, 3)  # two clips, two beams
    forbidden = [
        limit(torch.zeros(4, 1 + n, dtype=torch.long), scores)[:, 1].isneginf().tolist()
        for n in range(5)
    ]
    assert [row[0] for row in forbidden] == [True, True, True, True, False]
    assert [row[2] for row in forbidden] == [True, True, False, False, False]
    assert not scores.any(), "the given scores are left alone"


def test_repetition_is_penalized_in_the_text_alone(model: Translator, batch: Batch) -> None:
    def repeated(options: TextOptions) -> int:
        found = texts(model, batch, options, max_new_tokens=12)
        pairs = [list(pairwise(ids)) for ids in found.values()]
        return sum(len(row) - len(set(row)) for row in pairs)

    assert repeated(TextOptions()) > 0
    assert repeated(TextOptions(no_repeat_ngram_size=2)) == 0
    assert repeated(TextOptions(repetition_penalty=10.0)) == 0


def test_the_start_token_is_no_repetition(translator: Make, batch: Batch) -> None:
    """M2M-100 starts with its end of sentence, which a penalty would then postpone."""
    model = translator("m2m_100").eval()
    assert model.backbone.config.decoder_start_token_id == 2
    seen: list[torch.Tensor] = []
    model.backbone.get_output_embeddings().register_forward_hook(
        lambda _, __, logits: seen.append(logits[:, -1])
    )
    options = TextOptions(repetition_penalty=2.0)
    free = replace(batch, forced_mask_BF=torch.zeros_like(batch.forced_mask_BF))
    first = [ids[0] for ids in texts(model, free, options, max_new_tokens=2).values()]
    assert first == seen[0].argmax(dim=1).tolist()
