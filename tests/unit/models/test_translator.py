import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from kinesweep.core.batch import IGNORE, Batch
from kinesweep.core.errors import InputError
from kinesweep.models import Translator
from kinesweep.models.encoders import ENCODERS
from tolerances import assert_same

ARCHITECTURES = ["m2m_100", "tarres", "bart", "mbart", "t5"]
Make = Callable[..., Translator]
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@torch.no_grad()
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("encoder", [kind for kind in ENCODERS if kind != "tokens"])
def test_logits_of_a_clip_do_not_depend_on_its_neighbours(
    translator: Make,
    batch: Batch,
    alone: Callable[[Batch, int], Batch],
    architecture: str,
    encoder: str,
) -> None:
    model = translator(architecture, encoder=encoder).eval()
    together_BLV = model(**batch.get_forward_kwargs()).logits
    for row in range(batch.num_clips):
        alone_LV = model(**alone(batch, row).get_forward_kwargs()).logits[0]
        assert_same(together_BLV[row, : len(alone_LV)], alone_LV)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_text_of_a_clip_does_not_depend_on_its_neighbours(
    translator: Make,
    batch: Batch,
    alone: Callable[[Batch, int], Batch],
    architecture: str,
    num_beams: int,
) -> None:
    """With prompts before the frames, and decoder prompts of 1, 2, 0 and 2 tokens."""
    model = translator(architecture).eval()

    def texts(given: Batch) -> list[list[int]]:
        ids_BL = model.generate(
            **given.get_generate_kwargs(),
            forced_ids=given.forced_ids_BF,
            forced_mask=given.forced_mask_BF,
            num_beams=num_beams,
            max_new_tokens=10,
        )
        return [row[row != 0].tolist() for row in ids_BL]

    together = texts(batch)
    assert together == [texts(alone(batch, row))[0] for row in range(batch.num_clips)]
    for row, text in enumerate(together):
        prompt = batch.forced_ids_BF[row][batch.forced_mask_BF[row]].tolist()
        assert text[: len(prompt)] == prompt
    assert len({tuple(text[2:]) for text in together}) > 1


@pytest.mark.usefixtures("float64")
def test_input_is_prompt_streams_in_order_and_end(translator: Make, batch: Batch) -> None:
    model = translator().eval()
    x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    assert mask_BN.sum(dim=1).tolist() == [
        0 + 7 + 2 + 1,
        3 + 3 + 4 + 1,
        1 + 5 + 3 + 1,
        2 + 1 + 1 + 1,
    ]
    embed = model.backbone.get_encoder().get_input_embeddings()
    row = x_BNE[1]
    assert_same(row[:3], embed(batch.prompt_ids_BP[1]))
    for start, name, num in ((3, "pose", 3), (6, "dino", 4)):
        frames = model.encoders[name](batch.streams[name][1:2, :num], None)[0][0]
        assert_same(row[start : start + num], frames)
    assert_same(row[10], embed(torch.tensor(2)))


def test_the_end_can_be_left_out(translator: Make, batch: Batch) -> None:
    model = translator().eval()
    with_end_BNE, with_end_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    model.config.model = {**(model.config.model or {}), "append_eos": False}
    without = Translator(model.config, model.backbone).eval()
    without.encoders = model.encoders
    x_BNE, mask_BN = without.build_inputs_embeds(**batch.get_generate_kwargs())
    assert torch.equal(mask_BN.sum(dim=1), with_end_BN.sum(dim=1) - 1)
    for row, length in enumerate(mask_BN.sum(dim=1).tolist()):
        assert torch.equal(x_BNE[row, :length], with_end_BNE[row, :length])


@pytest.mark.usefixtures("float64")
def test_each_row_is_scored_against_its_own_labels(
    translator: Make, batch: Batch, alone: Callable[[Batch, int], Batch], architecture: str
) -> None:
    """The defect this is for: true starts 151 and 91 in one batch both became 139."""
    model = translator(architecture).eval()
    sums = [model.compute_token_sums(alone(batch, row)) for row in range(batch.num_clips)]
    total, right, num = model.compute_token_sums(batch)
    assert num == sum(own.num_tokens for own in sums) == int((batch.labels_BL != IGNORE).sum())
    assert right == sum(own.num_correct for own in sums)
    assert_same(total, sum(own.loss for own in sums))
    mean = model(**batch.get_forward_kwargs()).loss
    assert_same(mean, total / num)


def test_a_model_learns_which_text_belongs_to_which_clip(translator: Make, batch: Batch) -> None:
    """Overfits four clips; labels that were shifted or misaligned could not be reproduced."""
    model = translator("m2m_100", init_std=0.1, **NO_DROPOUT)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    labels_BL = torch.where(batch.labels_BL == IGNORE, IGNORE, batch.labels_BL.clone())
    last_B = (labels_BL != IGNORE).sum(dim=1) - 1
    labels_BL[torch.arange(4), last_B] = 2
    inputs = {**batch.get_generate_kwargs(), "labels": labels_BL}
    model.train()
    for _ in range(150):
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()
    model.eval()
    sums = model.compute_token_sums(replace(batch, labels_BL=labels_BL))
    assert sums.num_correct == sums.num_tokens
    for num_beams in (1, 3):
        written_BL = model.generate(
            **batch.get_generate_kwargs(), num_beams=num_beams, max_new_tokens=8
        )
        for row in range(4):
            expected = labels_BL[row][labels_BL[row] != IGNORE].tolist()
            assert written_BL[row][written_BL[row] != 0].tolist() == expected


@pytest.mark.usefixtures("float64")
def test_accumulated_batches_equal_one(
    translator: Make, batch: Batch, alone: Callable[[Batch, int], Batch], architecture: str
) -> None:
    """Sums divided by the step's labels: unequal texts weigh the same in parts and as a whole.

    In float64, so that nothing but a wrong weight can make a difference.
    """
    keys = {"dropout_rate": 0.0} if architecture == "t5" else NO_DROPOUT
    model = translator(architecture, smoothing=0.1, **keys).train()
    for encoder in model.encoders.values():
        encoder.dropout.p = 0.0
    at_once = copy.deepcopy(model)
    num_labels = (batch.labels_BL != IGNORE).sum()
    at_once(**batch.get_forward_kwargs(), num_items_in_batch=num_labels).loss.backward()
    for row in range(batch.num_clips):
        part = alone(batch, row)
        model(**part.get_forward_kwargs(), num_items_in_batch=int(num_labels)).loss.backward()
    for (name, whole), (_, parts) in zip(
        at_once.named_parameters(), model.named_parameters(), strict=True
    ):
        assert whole.grad is not None and parts.grad is not None, name
        torch.testing.assert_close(parts.grad, whole.grad, rtol=1e-9, atol=1e-9)


def test_smoothing_is_in_the_loss_and_not_in_the_token_loss(translator: Make, batch: Batch) -> None:
    plain, smoothed = translator().eval(), translator(smoothing=0.3).eval()
    assert plain.compute_token_sums(batch) == smoothed.compute_token_sums(batch)
    losses = [model(**batch.get_forward_kwargs()).loss.item() for model in (plain, smoothed)]
    assert losses[1] != losses[0]


def test_equal_seeds_give_equal_models(translator: Make, architecture: str) -> None:
    first, second = translator(architecture).state_dict(), translator(architecture).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_bf16_autocast(translator: Make, batch: Batch, architecture: str) -> None:
    model = translator(architecture)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch.get_forward_kwargs())
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    grads = [p.grad for p in model.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_gradient_checkpointing_reaches_the_backbone(translator: Make, batch: Batch) -> None:
    model = translator(**NO_DROPOUT).train()
    for encoder in model.encoders.values():
        encoder.dropout.p = 0.0
    again = copy.deepcopy(model)
    again.activation_checkpointing_enable()
    layer = again.backbone.get_encoder().layers[0]
    assert layer.gradient_checkpointing
    runs = []
    layer.register_forward_hook(lambda *_: runs.append(1))
    for each in (model, again):
        each(**batch.get_forward_kwargs()).loss.backward()
    pairs = zip(model.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)  # type: ignore[arg-type]


def test_inputs_beyond_the_positions_name_the_key(translator: Make, batch: Batch) -> None:
    model = translator("bart", max_position_embeddings=10)
    assert (model.input_limit, model.output_limit) == (10, 10)
    with pytest.raises(InputError, match=r"of 11 .*scratch\.max_position_embeddings` to 11"):
        model(**batch.get_forward_kwargs())
    with pytest.raises(InputError, match="output tokens of 12"):
        translator("bart", max_position_embeddings=11).generate(
            **batch.get_generate_kwargs(), max_new_tokens=12
        )


def test_m2m_100_and_t5_read_any_length(translator: Make) -> None:
    streams = {"pose": torch.randn(1, 80, 5), "dino": torch.randn(1, 1, 3)}
    masks = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in streams.items()}
    for model in (translator(max_position_embeddings=8), translator("t5")):
        assert model.input_limit is None
        assert model.eval()(streams, masks, labels=torch.tensor([[5, 2]])).logits.isfinite().all()


@pytest.mark.parametrize(
    "streams",
    [{"pose": 5}, {"pose": 5, "dino": 4}, {"pose": 5, "mae": 3}, {"pose": 5, "dino": 3, "mae": 2}],
)
def test_streams_must_be_those_of_the_model(translator: Make, streams: dict[str, int]) -> None:
    given = {name: torch.zeros(1, 2, width) for name, width in streams.items()}
    masks = {name: torch.ones(1, 2, dtype=torch.bool) for name in streams}
    with pytest.raises(InputError, match=r"`pose` \(5\), `dino` \(3\), but got"):
        translator()(given, masks, labels=torch.tensor([[5, 2]]))


def test_forward_without_labels_says_so(translator: Make, batch: Batch) -> None:
    with pytest.raises(InputError, match="labels"):
        translator()(**batch.get_generate_kwargs())


def test_an_adapter_begins_as_its_matrix_alone(translator: Make) -> None:
    encoder = translator("t5", encoder="adapter").encoders["pose"]
    assert not encoder.up.weight.any() and not encoder.up.bias.any()
    assert encoder.down.weight.any()
