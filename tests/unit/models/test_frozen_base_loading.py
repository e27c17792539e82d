"""Models over a base: what a checkpoint holds, and what it is put back upon."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import CheckpointError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.base_model import BASE_MODELS_ENV, compute_base_model_sha256
from kinesweep.models.checkpoint_io import estimate_saved_bytes, load_checkpoint_weights
from kinesweep.models.config import KinesweepConfig

WIDTHS = {"pose": 5, "dino": 3}
KEYS: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.3,
    },
    "t5": {"d_model": 64, "num_layers": 2, "d_ff": 128, "num_heads": 2, "d_kv": 8},
}
ROWS = 36
EMBEDDINGS = "backbone.model.embed_tokens.weight"


@pytest.fixture
def base(tmp_path: Path) -> Callable[..., Path]:
    """A folder with a saved language model: `base("t5", seed=4)`."""

    def make(architecture: str = "llama", seed: int = 3, **saving: Any) -> Path:
        auto = AutoModelForSeq2SeqLM if architecture == "t5" else AutoModelForCausalLM
        special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        config = AutoConfig.for_model(
            architecture, vocab_size=ROWS, **special, **KEYS[architecture]
        )
        torch.manual_seed(seed)
        folder = tmp_path / "machine" / f"{architecture}-{seed}{len(saving) or ''}"
        auto.from_config(config).save_pretrained(folder, **saving)
        return folder

    return make


def build(
    folder: Path, lora: bool = True, size: int = ROWS, widths: dict[str, int] = WIDTHS, **model: Any
) -> Translator:
    kind = "seq2seq" if folder.name.startswith("t5") else "causal"
    backbone = {"kind": kind, "pretrained": str(folder), "lora": {"rank": 8} if lora else None}
    freeze = () if lora else ("backbone",)
    plain = {"backbone": backbone, "tokenizer": {"kind": "pretrained"}, "freeze": freeze, **model}
    seed_everything(1)
    words = Vocabulary(size=size, pad_id=0, bos_id=1, eos_id=2)
    translator = build_translator(ModelConfig.model_validate(plain), widths, words, 0.1)
    with torch.no_grad():
        for weight in translator.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.1)
    return translator.eval()


def assert_equal(first: Translator, second: Translator, batch: Batch) -> None:
    with torch.no_grad():
        logits = [model(**batch.get_forward_kwargs()).logits for model in (first, second)]
    assert torch.equal(*logits)
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("architecture", KEYS)
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("size", [ROWS - 6, ROWS, ROWS + 6])
def test_reload_is_exact(
    base: Callable[..., Path],
    tmp_path: Path,
    batch: Batch,
    architecture: str,
    lora: bool,
    size: int,
) -> None:
    # A tokenizer of its own cuts rows that it does not use.
    kind = "train" if size < ROWS else "pretrained"
    model = build(base(architecture), lora, size, tokenizer={"kind": kind})
    assert model.get_input_embeddings().num_embeddings == size
    model.save_pretrained(tmp_path / "out")
    state = torch.get_rng_state()
    again = Translator.from_pretrained(tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), state), "loading draws no random numbers"
    assert_equal(model, again, batch)
    learns = [{n for n, p in m.named_parameters() if p.requires_grad} for m in (model, again)]
    assert learns[0] == learns[1]
    assert type(AutoModel.from_pretrained(tmp_path / "out")) is Translator


@pytest.mark.parametrize("lora", [True, False])
def test_a_checkpoint_holds_what_was_trained(
    base: Callable[..., Path], tmp_path: Path, lora: bool
) -> None:
    model = build(base(), lora, widths={"pose": 4000, "dino": 3000})
    model.save_pretrained(tmp_path)
    held = load_file(tmp_path / "model.safetensors")
    trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    buffers = sum(b.numel() * b.element_size() for b in model.encoders.buffers())
    size = (tmp_path / "model.safetensors").stat().st_size
    assert abs(size - trained - buffers) <= 0.01 * trained
    assert estimate_saved_bytes(model) == trained + buffers
    assert not any(name.startswith("backbone.") and ".lora_" not in name for name in held)
    assert {name for name in held if "mean" in name} == {f"encoders.{n}.mean" for n in WIDTHS}


def test_without_a_base_everything_is_held(base: Callable[..., Path], tmp_path: Path) -> None:
    plain = build(base(), lora=False, freeze=("embeddings",))
    assert plain.config.base is None
    plain.save_pretrained(tmp_path)
    assert "backbone.model.norm.weight" in load_file(tmp_path / "model.safetensors")
    assert json.loads((tmp_path / "config.json").read_text())["base"] is None


def test_another_base_is_refused_by_both_hashes(base: Callable[..., Path], tmp_path: Path) -> None:
    folder, other = base(), base(seed=4)
    build(folder).save_pretrained(tmp_path / "out")
    wanted = compute_base_model_sha256(str(folder))
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    with pytest.raises(CheckpointError) as caught:
        Translator.from_pretrained(tmp_path / "out")
    text = str(caught.value)
    assert wanted in text and compute_base_model_sha256(str(other)) in text and str(folder) in text


def test_a_base_cut_into_files_is_the_same(base: Callable[..., Path]) -> None:
    whole, cut = base(), base(max_shard_size="20KB")
    assert len(list(cut.glob("*.safetensors"))) > 2
    assert (
        compute_base_model_sha256(str(whole))
        == compute_base_model_sha256(str(cut))
        != compute_base_model_sha256(str(base(seed=4)))
    )


def test_one_byte_is_another_base(base: Callable[..., Path]) -> None:
    folder = base()
    before = compute_base_model_sha256(str(folder))
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert compute_base_model_sha256(str(folder)) != before
    weights["model.norm.weights"] = weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    renamed = compute_base_model_sha256(str(folder))
    weights["model.norm.weights"] = weights["model.norm.weights"].view(8, 8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert compute_base_model_sha256(str(folder)) != renamed


def test_a_moved_base_is_found_where_the_variable_says(
    base: Callable[..., Path], tmp_path: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = base()
    model = build(folder)
    model.save_pretrained(tmp_path / "out")
    folder.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(
        CheckpointError, match=rf"set {BASE_MODELS_ENV} .*base_models=folder"
    ) as caught:
        Translator.from_pretrained(tmp_path / "out")
    assert f"`{folder.name}`" in str(caught.value)
    given = Translator.from_pretrained(tmp_path / "out", base_models=str(tmp_path / "elsewhere"))
    assert_equal(model, given, batch)
    monkeypatch.setenv(BASE_MODELS_ENV, str(tmp_path / "elsewhere"))
    assert_equal(model, Translator.from_pretrained(tmp_path / "out"), batch)
    monkeypatch.setenv(BASE_MODELS_ENV, str(tmp_path))
    with pytest.raises(CheckpointError, match=f"`{tmp_path}` contains no folder `{folder.name}`"):
        Translator.from_pretrained(tmp_path / "out")


Weights = dict[str, torch.Tensor]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("encoders.pose.linear.weight"), "missing `encoders.pose.linear.weight`"),
        (lambda w: w.update(adapter=torch.zeros(2)), "unexpected `adapter`"),
        (
            lambda w: w.update({"encoders.dino.linear.weight": torch.zeros(64, 4)}),
            "mismatched `encoders.dino.linear.weight`",
        ),
        (
            lambda w: w.update(
                {n.replace(".pose.", ".mae."): w.pop(n) for n in list(w) if ".pose." in n}
            ),
            "unexpected `encoders.mae.linear.bias`",
        ),
        (
            lambda w: w.pop("backbone.model.layers.0.mlp.up_proj.lora_A.default.weight"),
            "missing `backbone.model.layers.0.mlp.up_proj.lora_A.default.weight`",
        ),
        (lambda w: w.pop(f"new_rows.{EMBEDDINGS}"), f"missing `new_rows.{EMBEDDINGS}`"),
        (
            lambda w: w.update({EMBEDDINGS: torch.zeros(ROWS + 2, 64)}),
            f"unexpected `{EMBEDDINGS}`",
        ),
    ],
)
def test_anything_but_a_perfect_fit_is_named(
    base: Callable[..., Path], tmp_path: Path, change: Callable[[Weights], object], words: str
) -> None:
    build(base(), size=ROWS + 2).save_pretrained(tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        Translator.from_pretrained(tmp_path / "out")
    assert words in str(caught.value)


def test_a_projector_of_another_kind_is_refused(base: Callable[..., Path], tmp_path: Path) -> None:
    folder = base()
    build(folder).save_pretrained(tmp_path)
    other = build(folder, encoder={"kind": "mlp", "hidden": [8]})
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"missing `encoders\.dino.*mismatched `encoders\.d"):
        load_checkpoint_weights(other, tmp_path)
    assert all(value.equal(before[name]) for name, value in other.state_dict().items())


def test_weights_go_into_a_model_over_the_same_base_only(
    base: Callable[..., Path], tmp_path: Path, batch: Batch
) -> None:
    folder = base()
    model = build(folder)
    model.save_pretrained(tmp_path)
    fresh = build(folder)
    with torch.no_grad():
        for weight in fresh.encoders.parameters():
            weight.zero_()
    load_checkpoint_weights(fresh, tmp_path)
    assert_equal(model, fresh, batch)
    with pytest.raises(CheckpointError, match="but this model uses"):
        load_checkpoint_weights(build(base(seed=4)), tmp_path)


def test_a_damaged_checkpoint_is_an_error(base: Callable[..., Path], tmp_path: Path) -> None:
    build(base()).save_pretrained(tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Translator.from_pretrained(tmp_path / "out")
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Translator.from_pretrained(tmp_path / "out")


def test_what_learnt_over_4_bits_is_read_over_whole_weights(
    base: Callable[..., Path],
    batch: Batch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Trained on a GPU, used on a laptop. These weights learnt beside whole ones: all fits."""
    model = build(base())
    model.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    held = json.loads(path.read_text())
    held["model"]["backbone"]["lora"]["quantize"] = "nf4"
    path.write_text(json.dumps(held))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = Translator.from_pretrained(tmp_path / "saved")
    assert "was held in 4 bits (nf4) in training, but this machine lacks a CUDA GPU" in caplog.text
    assert_equal(model, loaded, batch)
    assert (
        loaded.config.get_model_config().backbone.lora
        == KinesweepConfig(**held).get_model_config().backbone.lora
    ), "on a GPU it is in 4 bits again"


def test_all_parts_are_where_the_language_model_is(base: Callable[..., Path]) -> None:
    """In 4 bits it is read to where it stays; projectors and adapters follow."""
    model = build(base(), fusion={"kind": "time", "separators": True})
    elsewhere = Translator(model.config, build(base(), lora=False).backbone.to("meta"))
    assert {p.device.type for p in elsewhere.parameters()} == {"meta"}
