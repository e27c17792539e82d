"""Adapters: what learns, what stays, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.backbone import LoraConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import ConfigError, ResourceError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator, lora
from kinesweep.models.lora import is_adapter_weight

WORDS = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
WIDTHS = {"pose": 5, "dino": 3}
LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.3,
}
KEYS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3},
    "t5": {"d_model": 16, "num_layers": 2, "d_ff": 32, "num_heads": 2, "d_kv": 8},
}
Build = Callable[..., Translator]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A seeded model on a saved backbone: `build("llama", rank=4)`."""

    def make(architecture: str = "llama", lora: dict[str, Any] | None = None, **model: Any) -> Any:
        auto = AutoModelForSeq2SeqLM if architecture == "t5" else AutoModelForCausalLM
        folder = tmp_path / architecture
        if not folder.is_dir():
            config = AutoConfig.for_model(
                architecture, vocab_size=30, pad_token_id=0, eos_token_id=2, **KEYS[architecture]
            )
            torch.manual_seed(3)
            auto.from_config(config).save_pretrained(folder)
        kind = "seq2seq" if architecture == "t5" else "causal"
        backbone = {"kind": kind, "pretrained": str(folder), "lora": lora}
        plain = {"backbone": backbone, "tokenizer": {"kind": "pretrained"}, **model}
        seed_everything(1)
        return build_translator(ModelConfig.model_validate(plain), WIDTHS, WORDS)

    return make


@pytest.mark.parametrize("architecture", KEYS)
def test_first_output_is_the_base_models(build: Build, batch: Batch, architecture: str) -> None:
    plain, adapted = build(architecture), build(architecture, lora={"rank": 4})
    assert type(adapted.backbone) is type(plain.backbone)
    with torch.no_grad():
        logits = [model.eval()(**batch.get_forward_kwargs()).logits for model in (plain, adapted)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("architecture", KEYS)
def test_only_adapters_and_encoders_learn(build: Build, batch: Batch, architecture: str) -> None:
    model = build(architecture, lora={"rank": 4}).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.1)
    for _ in range(2):  # the first step moves B alone, for A's gradient passes through it
        optimizer.zero_grad()
        model(**batch.get_forward_kwargs()).loss.backward()
        optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    learns = {name for name, value in model.named_parameters() if value.requires_grad}
    assert moved == learns
    of_backbone = {name for name in learns if name.startswith("backbone.")}
    assert of_backbone and all(is_adapter_weight(name) for name in of_backbone)
    assert not any("lm_head" in name for name in of_backbone)
    assert {name for name in learns if name.startswith("encoders.")} == learns - of_backbone


def test_rank_and_alpha_are_those_asked_for(build: Build) -> None:
    model = build(lora={"rank": 3, "alpha": 6, "dropout": 0.2})
    layer: Any = model.backbone.model.layers[1].mlp.down_proj
    assert layer.lora_A["default"].weight.shape == (3, 32)
    assert layer.scaling["default"] == 2.0
    assert layer.lora_dropout["default"].p == 0.2


def test_adapters_are_seeded(build: Build) -> None:
    first, second = (build(lora={"rank": 4}).state_dict() for _ in range(2))
    drawn = [name for name in first if "lora_A" in name]
    assert len(drawn) == 14
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(first[name].std() > 0 for name in drawn)


def test_targets_by_name(build: Build) -> None:
    model = build(lora={"rank": 4, "targets": ["q_proj", "mlp.up_proj"]})
    layers = {name.split(".lora_")[0] for name in model.state_dict() if is_adapter_weight(name)}
    assert {name.rpartition(".")[2] for name in layers} == {"q_proj", "up_proj"}
    assert len(layers) == 4


@pytest.mark.parametrize(
    ("target", "words"),
    [("q_prj", "did you mean `q_proj`"), ("lm_head", "it has `q_proj`"), ("norm", "no linear")],
)
def test_unknown_targets_are_named(build: Build, target: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build(lora={"targets": ["v_proj", target]})
    assert f"`{target}`" in str(caught.value) and "layer `v_proj`" not in str(caught.value)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantized_weights_need_cuda(
    build: Build, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()  # so that the folder is there

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were read first")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match=rf"{kind}, but this machine lacks a CUDA GPU"):
        build(lora={"quantize": kind})


def test_the_number_of_bits_reaches_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "_find_missing_requirements", lambda _: [])
    cpu = torch.device("cpu")
    asked = {
        kind: lora.build_quantization_config(LoraConfig(quantize=kind), cpu)
        for kind in ("none", "int8", "nf4")
    }
    assert asked["none"] is None
    assert (asked["int8"].load_in_8bit, asked["int8"].load_in_4bit) == (True, False)
    assert (asked["nf4"].load_in_8bit, asked["nf4"].load_in_4bit) == (False, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora": {"rank": 0}}, "greater than or equal to 1"),
        ({"lora": {"targets": []}}, "names no layers"),
        (
            {"lora": {}, "pretrained": None, "scratch": {"architecture": "llama"}},
            "needs `backbone.pretr",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    plain = {"backbone": {"kind": "causal", "pretrained": "somewhere", **changes}}
    with pytest.raises(ValidationError, match=words):
        ModelConfig.model_validate(plain)


def test_frozen_adapters_make_no_sense(build: Build) -> None:
    with pytest.raises(ValidationError, match="would freeze the adapters"):
        build(lora={"rank": 4}, freeze=["backbone"])
