"""What a causal backbone does that an encoder-decoder does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import IGNORE, Batch
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator, check_backbone_config
from kinesweep.models.backbones.causal import (
    CausalBackbone,
    compute_position_ids,
    move_padding_left,
)
from tolerances import assert_same

pytestmark = pytest.mark.usefixtures("float64")

WORDS = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
LLAMA = {
    "architecture": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
    "max_position_embeddings": 64,
}
GPT2 = {
    "architecture": "gpt2",
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "initializer_range": 0.3,
    "n_positions": 64,
}
WIDTHS = {"pose": 5, "dino": 3}


def build(
    scratch: dict[str, Any] = LLAMA,
    words: Vocabulary = WORDS,
    widths: dict[str, int] = WIDTHS,
    **model: Any,
) -> Translator:
    plain = {"backbone": {"kind": "causal", "scratch": scratch}, **model}
    seed_everything(1)
    return build_translator(ModelConfig.model_validate(plain), widths, words).eval()


def fitted(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Scores that Hugging Face's model gives by itself."""
    return model(input_ids=torch.tensor([ids])).logits[0]


@torch.no_grad()
def test_the_last_vector_predicts_the_first_label() -> None:
    model, kind = build().backbone, CausalBackbone()
    source, target = [5, 9, 11], [7, 8, 2]
    mask_BN = torch.tensor([[True, True, True, False, False]])  # padded on the right, as spliced
    x_BNE = torch.randn(1, 5, 16)
    x_BNE[:, :3] = kind.embed_tokens(model, torch.tensor([source]))
    labels_BL = torch.tensor([[*target, IGNORE]])
    aligned_LV = kind.compute_logits(model, x_BNE, mask_BN, labels_BL)[0]
    expected = fitted(model, [*source, *target[:-1]])[len(source) - 1 :]
    assert_same(aligned_LV[:3], expected)


def test_padding_moves_to_the_left_and_positions_count_what_is_real() -> None:
    x_BNE = torch.arange(8.0).view(2, 4, 1)
    mask_BN = torch.tensor([[True, True, False, False], [True, True, True, True]])
    moved_BNE, moved_BN = move_padding_left(x_BNE, mask_BN)
    assert moved_BN.tolist() == [[False, False, True, True], [True] * 4]
    assert moved_BNE[0, 2:, 0].tolist() == [0, 1] and moved_BNE[1, :, 0].tolist() == [4, 5, 6, 7]
    assert compute_position_ids(moved_BN).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


@pytest.mark.parametrize("scratch", [LLAMA, GPT2])
def test_the_head_works_on_the_labels_alone(scratch: dict[str, Any], batch: Batch) -> None:
    model = build(scratch)
    lengths: list[int] = []
    model.backbone.lm_head.register_forward_hook(
        lambda _, given, __: lengths.append(given[0].shape[1])
    )
    model(**batch.get_forward_kwargs())
    assert lengths == [batch.labels_BL.shape[1]]


@pytest.mark.parametrize("scratch", [LLAMA, GPT2])
@torch.no_grad()
def test_a_row_in_a_batch_equals_the_row_alone(
    scratch: dict[str, Any], batch: Batch, alone: Callable[[Batch, int], Batch]
) -> None:
    model = build(scratch)
    together_BLV = model(**batch.get_forward_kwargs()).logits
    for row in range(4):
        single = alone(batch, row)
        one_LV = model(**single.get_forward_kwargs()).logits[0]
        assert_same(together_BLV[row, : len(one_LV)], one_LV)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_batched_texts_equal_texts_one_at_a_time(
    batch: Batch, alone: Callable[[Batch, int], Batch], num_beams: int
) -> None:
    model = build()
    asked = {"num_beams": num_beams, "max_new_tokens": 9, "length_penalty": 0.7}

    def texts(part: Batch) -> list[list[int]]:
        forced = {"forced_ids": part.forced_ids_BF, "forced_mask": part.forced_mask_BF}
        ids_BL = model.generate(**part.get_generate_kwargs(), **forced, **asked)
        return [row[row != 0].tolist() for row in ids_BL]

    together = texts(batch)
    assert together == [texts(alone(batch, row))[0] for row in range(4)]
    for row, text in enumerate(together):
        forced = batch.forced_ids_BF[row][batch.forced_mask_BF[row]].tolist()
        assert text[: len(forced)] == forced, "the prompt comes first, from the first token on"
        assert len(text) <= 9
    assert len({tuple(text) for text in together}) > 1


def test_spare_rows_are_never_written(batch: Batch) -> None:
    model = build()
    model._vocabulary = Vocabulary(size=8, pad_id=0, bos_id=1, eos_id=2)
    for num_beams in (1, 3):
        asked = {"num_beams": num_beams, "max_new_tokens": 20}
        assert int(model.generate(**batch.get_generate_kwargs(), **asked).max()) < 8


@pytest.mark.parametrize("num_beams", [1, 3])
def test_the_end_of_a_sentence_may_stand_in_for_padding(batch: Batch, num_beams: int) -> None:
    model = build(words=Vocabulary(size=30, pad_id=2, bos_id=1, eos_id=2), append_eos=True)
    with torch.no_grad():
        model.backbone.lm_head.weight[2] *= 2  # likely, so that rows end at different steps
    model(**batch.get_forward_kwargs()).loss.backward()
    assert model.get_input_embeddings().weight.grad[2].abs().sum() > 0, "it is no padding"
    ids_BL = model.generate(**batch.get_generate_kwargs(), num_beams=num_beams, max_new_tokens=12)
    ended_BL = (ids_BL == 2).cumsum(dim=1) > 0
    assert ended_BL.any() and (ids_BL[ended_BL] == 2).all()


def test_the_end_stands_behind_the_frames_only_where_asked(batch: Batch) -> None:
    lengths = {}
    for asked in (None, True, False):
        model = build(append_eos=asked)
        lengths[asked] = int(model.build_inputs_embeds(**batch.get_generate_kwargs())[1].sum())
    assert lengths[None] == lengths[False] == lengths[True] - 4


def test_input_and_text_share_the_positions(batch: Batch) -> None:
    model = build({**GPT2, "n_positions": 20})
    assert (model.input_limit, model.output_limit, model.total_limit) == (None, None, 20)
    with pytest.raises(
        InputError, match=r"of 10 and a text of 12 tokens .* share 20 .*n_positions` to 21"
    ):
        model.generate(**batch.get_generate_kwargs(), max_new_tokens=12)
    assert model.generate(**batch.get_generate_kwargs(), max_new_tokens=11).shape[1] <= 11


def test_a_long_input_may_stand_beside_a_long_text() -> None:
    """Each row fits, though the longest input and the longest text together would not."""
    model = build({**GPT2, "n_positions": 8}, widths={"pose": 5})
    x = torch.randn(2, 7, 5)
    mask = torch.arange(7) < torch.tensor([[7], [2]])
    labels = torch.tensor([[5, 2, *[IGNORE] * 5], [5, 6, 7, 8, 9, 10, 2]])
    assert model({"pose": x}, {"pose": mask}, labels=labels).logits.isfinite().all()
    labels[0, 2] = 7
    with pytest.raises(InputError, match="of 7 and a text of 3 tokens"):
        model({"pose": x}, {"pose": mask}, labels=labels)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("bert", "is an encoder"),
        ("mamba", "has a recurrent state"),
        ("gemma3n_text", "looks up token ids"),
        ("gemma3", "combines several models"),
        ("t5", "not a Hugging Face decoder-only model"),
        ("lama", "did you mean `llama`"),
    ],
)
def test_models_that_cannot_be_are_refused(architecture: str, words: str) -> None:
    plain = {"backbone": {"kind": "causal", "scratch": {"architecture": architecture}}}
    with pytest.raises(ConfigError, match=words):
        check_backbone_config(ModelConfig.model_validate(plain))


def test_unknown_keys_are_named() -> None:
    scratch = {**LLAMA, "hiden_size": 8, "eos_token_id": 3}
    plain = {"backbone": {"kind": "causal", "scratch": scratch}}
    with pytest.raises(ConfigError) as caught:
        check_backbone_config(ModelConfig.model_validate(plain))
    assert "did you mean `hidden_size`" in str(caught.value)
    assert "scratch.eos_token_id" in str(caught.value)


def test_halves_cannot_be_frozen() -> None:
    for part in ("backbone_encoder", "backbone_decoder"):
        with pytest.raises(ValidationError, match="a causal backbone has no encoder and decoder"):
            build(freeze=[part])
    frozen = build(freeze=["embeddings", "lm_head"])
    assert not frozen.get_input_embeddings().weight.requires_grad
    assert not frozen.backbone.lm_head.weight.requires_grad


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"backbone.kind .*'seq2seq', 'causal'"):
        validate_config(ModelConfig, {"backbone": {"kind": "causl", "scratch": LLAMA}}, "a recipe")


def saved(folder: Path) -> PreTrainedModel:
    keys = dict(LLAMA)
    config = AutoConfig.for_model(keys.pop("architecture"), vocab_size=30, eos_token_id=2, **keys)
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config.update(num_beams=7, no_repeat_ngram_size=2)
    model.save_pretrained(folder)
    return model


def test_a_saved_model_is_taken_as_it_is(tmp_path: Path, batch: Batch) -> None:
    expected = saved(tmp_path).state_dict()
    plain = {
        "backbone": {"kind": "causal", "pretrained": str(tmp_path)},
        "tokenizer": {"kind": "pretrained"},
    }
    model = build_translator(ModelConfig.model_validate(plain), WIDTHS, WORDS)
    loaded = model.backbone.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)
    model.save_pretrained(tmp_path / "out")
    again = Translator.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        logits = [m(**batch.get_forward_kwargs()).logits for m in (model.eval(), again)]
    assert torch.equal(*logits)
    plain["backbone"]["kind"] = "seq2seq"
    with pytest.raises(InputError, match=r"a `llama`\. Backbone `seq2seq` needs"):
        build_translator(ModelConfig.model_validate(plain), WIDTHS, WORDS)
