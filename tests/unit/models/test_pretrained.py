import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator

ROWS = 30


@pytest.fixture
def saved(tmp_path: Path, recipe: Callable[..., ModelConfig]) -> tuple[Path, PreTrainedModel]:
    """A folder with habits: languages forced first, seven beams, no pair of words twice."""
    keys = dict(recipe(scale_embedding=True).backbone.scratch or {})
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = AutoConfig.for_model(keys.pop("architecture"), vocab_size=ROWS, **special, **keys)
    torch.manual_seed(3)
    model = AutoModelForSeq2SeqLM.from_config(config)
    model.generation_config = GenerationConfig(
        num_beams=7, forced_bos_token_id=9, no_repeat_ngram_size=2, max_length=200, **special
    )
    model.save_pretrained(tmp_path / "m2m")
    return tmp_path / "m2m", model


def build(
    folder: Path, size: int = ROWS, kind: str = "pretrained", **backbone: float
) -> Translator:
    plain = {"backbone": {"pretrained": str(folder), **backbone}, "tokenizer": {"kind": kind}}
    words = Vocabulary(size=size, pad_id=1, bos_id=0, eos_id=2)
    seed_everything(1)
    return build_translator(ModelConfig.model_validate(plain), {"pose": 5}, words).eval()


def test_weights_are_the_folders(saved: tuple[Path, PreTrainedModel]) -> None:
    folder, model = saved
    loaded, expected = build(folder).backbone.state_dict(), model.state_dict()
    assert set(loaded) == set(expected)
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)


def test_new_tokens_get_seeded_rows(saved: tuple[Path, PreTrainedModel]) -> None:
    folder, model = saved
    first, second = build(folder, ROWS + 4).backbone, build(folder, ROWS + 4).backbone
    rows = first.get_input_embeddings().weight
    assert rows.shape[0] == first.lm_head.out_features == first.config.vocab_size == ROWS + 4
    assert torch.equal(rows[:ROWS], model.get_input_embeddings().weight)
    assert torch.equal(rows, second.get_input_embeddings().weight)
    assert first.lm_head.weight is rows
    assert rows[ROWS:].abs().sum(dim=1).min() > 0
    assert first.get_input_embeddings().embed_scale == model.get_input_embeddings().embed_scale


def test_spare_rows_stay_and_are_never_written(saved: tuple[Path, PreTrainedModel]) -> None:
    translator = build(saved[0], ROWS - 20)
    assert translator.backbone.config.vocab_size == ROWS
    x = {"pose": torch.randn(6, 8, 5)}
    masks = {"pose": torch.ones(6, 8, dtype=torch.bool)}
    for num_beams in (1, 3):
        written = translator.generate(x, masks, num_beams=num_beams, max_new_tokens=20)
        assert int(written.max()) < ROWS - 20


def test_a_tokenizer_trained_anew_cuts_them(saved: tuple[Path, PreTrainedModel]) -> None:
    assert build(saved[0], ROWS - 10, "train").backbone.config.vocab_size == ROWS - 10


def test_the_folders_habits_do_not_leak(saved: tuple[Path, PreTrainedModel]) -> None:
    """As from a folder without them; the model itself repeats words and starts with others."""
    folder, _ = saved
    x = {"pose": torch.randn(8, 8, 5)}
    masks = {"pose": torch.ones(8, 8, dtype=torch.bool)}
    with_habits = build(folder).generate(x, masks, max_new_tokens=20)
    (folder / "generation_config.json").unlink()
    assert torch.equal(build(folder).generate(x, masks, max_new_tokens=20), with_habits)
    assert (with_habits[:, 0] != 9).any()


def test_saved_translator_needs_the_folder_no_more(
    saved: tuple[Path, PreTrainedModel], tmp_path: Path
) -> None:
    translator = build(saved[0], ROWS + 4)
    translator.save_pretrained(tmp_path / "out")
    backbone = json.loads((tmp_path / "out/config.json").read_text())["backbone"]
    assert str(tmp_path) not in json.dumps(backbone)
    saved[0].rename(tmp_path / "moved")
    again = Translator.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(again[key], value) for key, value in translator.state_dict().items())


def refused(folder: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        build(Path(folder))
    assert "model.backbone.pretrained" in str(caught.value)
    return str(caught.value)


def test_no_such_folder(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nowhere")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert "config.json" in refused(tmp_path)


def test_not_an_encoder_decoder(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9)).save_pretrained(
        tmp_path
    )
    assert "a `gpt2`" in refused(tmp_path)


def test_pickles_are_not_read(saved: tuple[Path, PreTrainedModel]) -> None:
    folder, model = saved
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert "safetensors" in refused(folder)


def test_damaged_weights(saved: tuple[Path, PreTrainedModel]) -> None:
    path = saved[0] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert "cannot be read" in refused(saved[0])


def test_code_of_the_folder_never_runs(saved: tuple[Path, PreTrainedModel]) -> None:
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "theirs.Theirs"}
    config["model_type"] = "theirs"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text("raise SystemExit('it ran')")
    assert "custom code" in refused(folder)


def test_missing_weights_are_named(saved: tuple[Path, PreTrainedModel]) -> None:
    path = saved[0] / "model.safetensors"
    weights = load_file(path)
    del weights["model.encoder.layer_norm.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    assert "model.encoder.layer_norm.weight" in refused(saved[0])


def test_weights_of_another_shape_are_named(saved: tuple[Path, PreTrainedModel]) -> None:
    path = saved[0] / "model.safetensors"
    weights = {**load_file(path), "model.encoder.layer_norm.weight": torch.zeros(3)}
    save_file(weights, path, metadata={"format": "pt"})
    assert "model.encoder.layer_norm.weight" in refused(saved[0])


def test_weights_too_many_are_warned_of(
    saved: tuple[Path, PreTrainedModel], caplog: pytest.LogCaptureFixture
) -> None:
    path = saved[0] / "model.safetensors"
    weights: dict[str, Any] = {**load_file(path), "adapter.weight": torch.zeros(2)}
    save_file(weights, path, metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING):
        build(saved[0])
    assert "adapter.weight" in caplog.text


def test_forward_works(saved: tuple[Path, PreTrainedModel], batch: Batch) -> None:
    streams, masks = {"pose": batch.streams["pose"]}, {"pose": batch.frame_masks["pose"]}
    output = build(saved[0])(streams, masks, labels=batch.labels_BL)
    assert output.logits is not None and output.logits.isfinite().all()


@pytest.mark.parametrize("architecture", ["m2m_100", "bart", "t5"])
def test_dropout_replaces_the_folders_general_one(
    tmp_path: Path, recipe: Callable[..., ModelConfig], architecture: str
) -> None:
    keys = dict(recipe(architecture).backbone.scratch or {})
    config = AutoConfig.for_model(
        keys.pop("architecture"), vocab_size=ROWS, pad_token_id=1, eos_token_id=2, **keys
    )
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(tmp_path / "saved")
    built = build(tmp_path / "saved", dropout=0.37).backbone
    key = "dropout_rate" if architecture == "t5" else "dropout"
    assert getattr(built.config, key) == 0.37
    before, after = config.to_dict(), built.config.to_dict()
    others = [k for k in before if k.endswith("dropout") and k != key]
    assert [after[k] for k in others] == [before[k] for k in others]
    found = {m.p for m in built.modules() if isinstance(m, torch.nn.Dropout)}
    found |= {m.dropout for m in built.modules() if type(m).__name__.endswith("coderLayer")}
    assert found == {0.37}


def test_dropout_is_not_for_a_backbone_from_scratch(recipe: Callable[..., ModelConfig]) -> None:
    plain = {"backbone": {"scratch": recipe().backbone.scratch, "dropout": 0.3}}
    with pytest.raises(ValidationError, match="from scratch has it in `scratch`"):
        ModelConfig.model_validate(plain)
