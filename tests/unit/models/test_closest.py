"""Of several references the likeliest is learnt: beside brute force over each of them alone."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import IGNORE, Batch
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.losses.closest_reference import ReferenceLabels, find_closest_reference_rows

SEVERAL = [
    [[5, 9, 3, 2], [7, 2], [8, 8, 4, 2]],
    [[6, 2]],
    [[3, 4, 2], [9, 3, 5, 6, 7, 2]],
    [[4, 2], [5, 5, 2], [6, 7, 8, 2], [3, 2]],
]
LLAMA = {
    "architecture": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.3,
    "max_position_embeddings": 64,
}
Make = Callable[..., Translator]


def padded(rows: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([row + [IGNORE] * (width - len(row)) for row in rows])


def with_texts(batch: Batch, texts: list[list[list[int]]]) -> Batch:
    """The same clips, with these references."""
    most, width = max(map(len, texts)), max(len(text) for of_clip in texts for text in of_clip)
    every = [padded([*of_clip, *[[]] * (most - len(of_clip))], width) for of_clip in texts]
    first = padded([of_clip[0] for of_clip in texts], max(len(own[0]) for own in texts))
    return replace(batch, labels_BL=first, labels_BRL=torch.stack(every))


@pytest.fixture(params=["m2m_100", "bart", "t5", "llama"])
def model(request: pytest.FixtureRequest, recipe: Callable[..., ModelConfig]) -> Translator:
    """Without dropout; smoothing 0.1."""
    widths, words = {"pose": 5, "dino": 3}, Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
    if request.param == "llama":
        config = ModelConfig.model_validate({"backbone": {"kind": "causal", "scratch": LLAMA}})
    else:
        config = recipe(request.param)
    seed_everything(1)
    return build_translator(config, widths, words, 0.1).double().eval()


def token_loss(model: Translator, clip: Batch, text: list[int]) -> float:
    """Mean over a text's tokens, unsmoothed, of a clip by itself."""
    sums = model.compute_token_sums(replace(clip, labels_BL=torch.tensor([text]), labels_BRL=None))
    return sums.loss / sums.num_tokens


def brute_force(model: Translator, clips: list[Batch]) -> tuple[list[int], torch.Tensor]:
    """Which reference each clip's is, and the loss, one forward a clip and text."""
    places, total, items = [], torch.zeros(()), 0
    for clip, texts in zip(clips, SEVERAL, strict=True):
        losses = [token_loss(model, clip, text) for text in texts]
        places.append(losses.index(min(losses)))
        own = replace(clip, labels_BL=torch.tensor([texts[places[-1]]]), labels_BRL=None)
        total = total + model(**own.get_forward_kwargs()).loss * len(texts[0])
        items += len(texts[0])
    return places, total / items


def test_a_mixed_batch_equals_each_clip_and_text_by_itself(
    model: Translator, batch: Batch, alone: Callable[[Batch, int], Batch]
) -> None:
    together = with_texts(batch, SEVERAL)
    clips = [alone(batch, row) for row in range(4)]
    other = copy.deepcopy(model)
    places, wanted = brute_force(other, clips)
    assert len(set(places)) > 1 and places != [0, 0, 0, 0]
    loss = model(**together.get_forward_kwargs()).loss
    torch.testing.assert_close(loss, wanted, rtol=1e-9, atol=1e-9)
    loss.backward()
    wanted.backward()
    for (name, own), (_, theirs) in zip(
        model.named_parameters(), other.named_parameters(), strict=True
    ):
        assert own.grad is not None and theirs.grad is not None, name
        torch.testing.assert_close(own.grad, theirs.grad, rtol=1e-7, atol=1e-9)


def test_with_one_reference_it_is_the_first(model: Translator, batch: Batch) -> None:
    first = with_texts(batch, [[texts[0]] for texts in SEVERAL])
    plain = replace(first, labels_BRL=None)
    of_step = torch.tensor(40)
    for more in ({}, {"num_items_in_batch": of_step}):
        found, wanted = (model(**one.get_forward_kwargs(), **more) for one in (first, plain))
        torch.testing.assert_close(found.loss, wanted.loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-12, atol=1e-12)


def test_accumulated_batches_equal_one(
    model: Translator, batch: Batch, alone: Callable[[Batch, int], Batch]
) -> None:
    """Also the batch that has one clip with one reference, whose labels are then all there is."""
    together = with_texts(batch, SEVERAL)
    items = int((together.labels_BL != IGNORE).sum())
    assert items == sum(len(texts[0]) for texts in SEVERAL)
    whole = model(**together.get_forward_kwargs(), num_items_in_batch=items).loss
    parts = [with_texts(alone(batch, row), [SEVERAL[row]]) for row in range(4)]
    parts[1] = replace(parts[1], labels_BRL=None)
    summed = sum(
        model(**part.get_forward_kwargs(), num_items_in_batch=items).loss for part in parts
    )
    torch.testing.assert_close(whole, summed, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        whole, model(**together.get_forward_kwargs()).loss, rtol=1e-12, atol=0
    )


def test_the_planted_one_is_picked_in_every_clip(
    model: Translator, batch: Batch, alone: Callable[[Batch, int], Batch]
) -> None:
    """What a model was taught is what it then finds likeliest, wherever it stands."""
    taught = [[5, 9, 3, 2], [6, 2], [9, 3, 5, 6, 7, 2], [3, 2]]
    plain = replace(batch, labels_BL=padded(taught, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        model(**plain.get_forward_kwargs()).loss.backward()
        optimizer.step()
    for places in ([0, 0, 1, 3], [2, 0, 0, 1]):
        texts = [
            [text for text in own if text != right]
            for own, right in zip(SEVERAL, taught, strict=True)
        ]
        for own, right, place in zip(texts, taught, places, strict=True):
            own.insert(place, right)
        given = with_texts(batch, texts)
        choices = ReferenceLabels.from_padded_labels(given.labels_BRL)  # type: ignore[arg-type]
        output = model(**given.get_forward_kwargs())
        logits_MLV = model._backbone_ops.compute_logits(
            model.backbone,
            *model.build_inputs_embeds(**given.get_generate_kwargs()),
            choices.labels_ML,
            choices.clip_M,
        )
        row_B = find_closest_reference_rows(logits_MLV, choices)
        assert choices.clip_M[row_B].tolist() == [0, 1, 2, 3]
        for row, right in zip(row_B, taught, strict=True):
            assert choices.labels_ML[row][: len(right)].tolist() == right
        torch.testing.assert_close(output.logits, logits_MLV[row_B])


def test_the_choice_knows_no_smoothing() -> None:
    """With 0.1 the second would pay for what it holds impossible, and the first be nearer."""
    choices = ReferenceLabels.from_padded_labels(torch.tensor([[[0], [1]]]))
    chances_MLV = torch.tensor([[[0.6, 0.2, 0.2]], [[0.39, 0.61, 1e-9]]])
    assert find_closest_reference_rows(chances_MLV.log(), choices).tolist() == [1]


def test_an_encoder_reads_a_clip_once(translator: Make, batch: Batch) -> None:
    model = translator("m2m_100").eval()
    read = []
    model.backbone.get_encoder().register_forward_hook(lambda *a: read.append(a[2][0].shape[0]))
    model(**with_texts(batch, SEVERAL).get_forward_kwargs())
    assert read == [4]


def test_a_loss_that_is_no_number_is_one_for_the_trainer(translator: Make, batch: Batch) -> None:
    model = translator("t5")
    torch.nn.init.constant_(next(model.backbone.get_decoder().parameters()), torch.nan)
    assert model(**with_texts(batch, SEVERAL).get_forward_kwargs()).loss.isnan()


def test_the_longest_reference_must_have_room(
    recipe: Callable[..., ModelConfig], batch: Batch
) -> None:
    config = ModelConfig.model_validate(
        {"backbone": {"kind": "causal", "scratch": LLAMA}, "reserved_text_tokens": 5}
    )
    words: Any = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
    model = build_translator(config, {"pose": 5, "dino": 3}, words)
    with pytest.raises(InputError, match="A text of 6 tokens does not fit"):
        model(**with_texts(batch, SEVERAL).get_forward_kwargs())
