from collections.abc import Callable

import pytest
import torch
from transformers import StaticCache

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.generation import DecodingSettings, ForcedPromptLogitsProcessor, TextOptions
from kinesweep.models.logits.decoding_cache import BeamCache

Make = Callable[..., Translator]


@pytest.fixture
def counted(translator: Make) -> tuple[Translator, dict[str, list[int]]]:
    """A model, and the rows that its halves saw in each call."""
    model = translator().eval()
    rows: dict[str, list[int]] = {"encoder": [], "decoder": []}
    halves = {"encoder": model.backbone.get_encoder(), "decoder": model.backbone.get_decoder()}
    for name, half in halves.items():

        def count(_: object, __: object, output: object, name: str = name) -> None:
            rows[name].append(output.last_hidden_state.shape[0])  # type: ignore[attr-defined]

        half.register_forward_hook(count)
    return model, rows


@pytest.mark.parametrize("num_beams", [1, 2, 5])
def test_beams_asked_for_are_beams_used_and_the_encoder_runs_once(
    counted: tuple[Translator, dict[str, list[int]]], batch: Batch, num_beams: int
) -> None:
    model, rows = counted
    model.generate(**batch.get_generate_kwargs(), num_beams=num_beams, max_new_tokens=6)
    assert rows["encoder"] == [4]
    assert set(rows["decoder"]) == {4 * num_beams}


def test_decoding_reads_one_token_a_step(translator: Make, batch: Batch) -> None:
    model = translator().eval()
    lengths: list[int] = []
    model.backbone.get_decoder().register_forward_hook(
        lambda _, __, output: lengths.append(output.last_hidden_state.shape[1])
    )
    model.generate(**batch.get_generate_kwargs(), num_beams=3, max_new_tokens=6)
    assert set(lengths) == {1}


def test_more_beams_find_texts_at_least_as_likely(translator: Make, batch: Batch) -> None:
    """Scored by the model itself, to a fixed number of tokens: wrong reordering would lose."""
    better = 0
    for architecture in ("m2m_100", "bart", "t5"):
        model = translator(architecture).eval()
        scores = []
        for num_beams in (1, 8):
            ids_BL = model.generate(
                **batch.get_generate_kwargs(), num_beams=num_beams, max_new_tokens=5
            )
            labels_BL = ids_BL.masked_fill(ids_BL == 0, -100)
            logits_BLV = model(**batch.get_generate_kwargs(), labels=labels_BL).logits.detach()
            log_p_BL = logits_BLV.log_softmax(2).gather(2, ids_BL[:, :, None])[:, :, 0]
            real_BL = labels_BL != -100
            scores.append((log_p_BL * real_BL).sum(1) / real_BL.sum(1))
        better += int((scores[1] > scores[0] + 1e-3).sum())
        assert (scores[1] >= scores[0] - 1e-4).all()
    assert better > 0


def test_moving_only_the_decoders_cache_changes_no_text(
    translator: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = translator().eval()
    asked = {"num_beams": 4, "max_new_tokens": 8}
    fast = model.generate(**batch.get_generate_kwargs(), **asked)
    monkeypatch.delattr(BeamCache, "reorder_cache")
    assert torch.equal(model.generate(**batch.get_generate_kwargs(), **asked), fast)


def test_forced_prompts_of_different_lengths_with_beams() -> None:
    ids = torch.tensor([[7, 8], [9, 0], [0, 0]])
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    force = ForcedPromptLogitsProcessor(ids, mask)
    scores = torch.randn(6, 10)  # three clips, two beams
    first = force(torch.zeros(6, 1, dtype=torch.long), scores)
    assert first[:4].argmax(dim=1).tolist() == [7, 7, 9, 9]
    assert (first[:4].amax(dim=1) == 0).all() and first[:4].isneginf().sum() == 4 * 9
    assert torch.equal(first[4:], scores[4:])
    second = force(torch.zeros(6, 2, dtype=torch.long), scores)
    assert second[:2].argmax(dim=1).tolist() == [8, 8]
    assert torch.equal(second[2:], scores[2:])
    assert force(torch.zeros(6, 3, dtype=torch.long), scores) is scores


def test_no_prompt_at_all_forces_nothing() -> None:
    scores = torch.randn(2, 5)
    none = torch.zeros(2, 0)
    assert (
        ForcedPromptLogitsProcessor(none.long(), none.bool())(torch.zeros(2, 1), scores) is scores
    )


@pytest.mark.parametrize("num_beams", [1, 4])
def test_text_ends_once_and_padding_follows(translator: Make, batch: Batch, num_beams: int) -> None:
    model = translator("t5").eval()
    # The end of a sentence made likely, so that rows end at different steps.
    with torch.no_grad():
        model.get_input_embeddings().weight[2] *= 3
    ids_BL = model.generate(**batch.get_generate_kwargs(), num_beams=num_beams, max_new_tokens=12)
    ended_BL = (ids_BL == 2).cumsum(dim=1) > 0
    assert ended_BL.any()
    after_BL = ended_BL & (ids_BL != 2)
    assert (ids_BL[after_BL] == 0).all()
    assert ((ids_BL == 2).sum(dim=1) <= 1).all()


def test_length_is_bounded_prompt_included(translator: Make, batch: Batch) -> None:
    ids_BL = (
        translator()
        .eval()
        .generate(
            **batch.get_generate_kwargs(),
            forced_ids=batch.forced_ids_BF,
            forced_mask=batch.forced_mask_BF,
            num_beams=2,
            max_new_tokens=3,
        )
    )
    assert ids_BL.shape[1] <= 3


def test_a_length_penalty_decides_between_short_and_long(translator: Make, batch: Batch) -> None:
    model = translator("t5").eval()
    # The end of a sentence made likely, so that beams of many lengths compete.
    with torch.no_grad():
        model.get_input_embeddings().weight[2] *= 3
    lengths = {}
    for penalty in (-5.0, 5.0):
        ids_BL = model.generate(
            **batch.get_generate_kwargs(), num_beams=4, max_new_tokens=12, length_penalty=penalty
        )
        lengths[penalty] = int((ids_BL != 0).sum())
    assert lengths[-5.0] < lengths[5.0]


@pytest.mark.parametrize("architecture", ["m2m_100", "t5", "llama"])
def test_a_static_cache_gives_the_same_texts(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With beams of different clips too, and the same shapes in every step."""
    seed_everything(3)
    vocabulary = Vocabulary(size=40, pad_id=0, bos_id=1, eos_id=2)
    kind, sizes = STATIC[architecture]
    section = {"kind": kind, "scratch": {"architecture": architecture, **sizes}}
    values = {"encoder": {"kind": "linear"}, "backbone": section}
    backbone_config = ModelConfig.model_validate(values).backbone
    ops = get_backbone_ops(backbone_config)
    model = ops.create_model(backbone_config, vocabulary, True).eval()
    for weights in model.parameters():  # texts of several words
        weights.data *= 3
    x_BNE, mask_BN = torch.randn(3, 9, 16), torch.ones(3, 9, dtype=torch.bool)
    mask_BN[1, 6:] = False
    if kind == "causal":
        mask_BN = mask_BN.flip(1)
    made, init = [], StaticCache.__init__
    monkeypatch.setattr(
        StaticCache, "__init__", lambda *args, **named: made.append(1) or init(*args, **named)
    )
    for num_beams in (1, 3):
        found = [
            ops.generate(
                model,
                x_BNE,
                mask_BN,
                DecodingSettings(num_beams, 12, 1.0, 40, options=TextOptions(static_cache=static)),
            )
            for static in (False, True)
        ]
        assert torch.equal(*found) and len(found[0].unique()) > 1, (architecture, num_beams)
    # Of an encoder-decoder one for itself and one for what the encoder wrote, in both searches.
    assert len(made) == (2 if kind == "causal" else 4)


STATIC: dict[str, tuple[str, dict[str, int]]] = {
    "m2m_100": (
        "seq2seq",
        {
            **{"d_model": 16, "encoder_layers": 1, "decoder_layers": 2},
            **{"encoder_attention_heads": 2, "decoder_attention_heads": 2},
            **{"encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
        },
    ),
    "t5": ("seq2seq", {"d_model": 16, "d_kv": 8, "num_heads": 2, "num_layers": 2, "d_ff": 32}),
    "llama": (
        "causal",
        {
            **{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "num_key_value_heads": 2},
        },
    ),
}
