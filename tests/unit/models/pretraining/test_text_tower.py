"""The text tower: encoders of several families, pooling, freezing, adapters, error messages."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2Model, T5Config, T5Model

from kinesweep.config.loading import validate_config
from kinesweep.config.pretraining.text_tower import TextTowerConfig
from kinesweep.core.errors import CheckpointError, ConfigError, InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.pretraining.text_tower import TextTower, pool_tokens

_WORDS = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
_BERT = {
    **{"architecture": "bert", "hidden_size": 16, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 16},
}
_T5 = {"architecture": "t5", "d_model": 16, "num_layers": 1, "d_ff": 32, "num_heads": 2, "d_kv": 8}
_M2M = {
    **{"architecture": "m2m_100", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1},
    **{"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2},
}
_ENCODERS = {"bert": _BERT, "t5": _T5, "m2m_100": _M2M}


def config_of(**keys: Any) -> TextTowerConfig:
    plain = {"tokenizer": {"kind": "train", "size": 32}, "max_tokens": 8, **keys}
    return validate_config(TextTowerConfig, plain, "the test")


def pretrained(folder: Path, **keys: Any) -> TextTowerConfig:
    return config_of(pretrained=str(folder), tokenizer={"kind": "pretrained"}, **keys)


def tower_of(config: TextTowerConfig, width: int = 6) -> TextTower:
    seed_everything(1)
    return TextTower(config, _WORDS, width)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A masked language model without a pooling layer, as most published BERTs are."""
    sizes = {k: v for k, v in _BERT.items() if k != "architecture"}
    BertForMaskedLM(BertConfig(vocab_size=30, **sizes)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


_IDS = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0]])
_MASK = _IDS != 0


@pytest.mark.parametrize("architecture", _ENCODERS)
def test_texts_become_unit_vectors_whatever_the_padding(architecture: str) -> None:
    tower = tower_of(config_of(scratch=_ENCODERS[architecture])).eval()
    together = tower(_IDS, _MASK)
    alone = tower(_IDS[1:, :3], _MASK[1:, :3])
    assert together.shape == (2, 6) and torch.allclose(together.norm(dim=1), torch.ones(2))
    assert torch.allclose(together[1:], alone, atol=1e-5)
    together[0, 0].backward()  # every weight of the encoder is used: none waits for a gradient
    unused = [name for name, p in tower.named_parameters() if p.grad is None]
    assert unused == []


def test_poolings() -> None:
    x = torch.tensor([[[1.0], [5.0], [3.0]], [[2.0], [4.0], [99.0]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    pooled = {
        name: pool_tokens(x, mask, name).flatten().tolist()
        for name in ("mean", "max", "first", "last")
    }  # type: ignore[arg-type]
    assert pooled == {"mean": [3, 3], "max": [5, 4], "first": [1, 2], "last": [3, 4]}


def test_a_masked_language_model_is_loaded_without_its_pooler(bert: Path) -> None:
    tower = tower_of(pretrained(bert))
    assert tower.encoder.pooler is None
    with pytest.raises(InputError, match="pooler"):
        tower_of(pretrained(bert, pooling="pooler"))


def test_the_encoder_of_an_encoder_decoder_is_kept(tmp_path: Path) -> None:
    sizes = {k: v for k, v in _T5.items() if k != "architecture"}
    T5Model(T5Config(vocab_size=30, **sizes)).save_pretrained(tmp_path)
    tower = tower_of(pretrained(tmp_path))
    assert not any("decoder" in name for name, _ in tower.named_parameters())


def test_a_frozen_encoder_trains_its_projection_only(bert: Path) -> None:
    tower = tower_of(pretrained(bert, freeze=True)).train()
    trained = {name for name, p in tower.named_parameters() if p.requires_grad}
    assert trained == {"projection.0.weight", "projection.2.weight"}
    assert not tower.encoder.training
    assert torch.equal(tower(_IDS, _MASK), tower(_IDS, _MASK))  # no dropout


def test_adapters_are_trained_beside_frozen_weights(bert: Path) -> None:
    tower = tower_of(pretrained(bert, lora={"rank": 2, "targets": ["query"]}))
    trained = {name for name, p in tower.encoder.named_parameters() if p.requires_grad}
    assert len(trained) == 2 and all("lora" in name and "query" in name for name in trained)
    with pytest.raises(ConfigError, match="no linear layer `querry`; did you mean `query`"):
        tower_of(pretrained(bert, lora={"targets": ["querry"]}))


def test_dropout_is_overridden(bert: Path) -> None:
    tower = tower_of(pretrained(bert, dropout=0.0)).train()
    assert torch.equal(tower(_IDS, _MASK), tower(_IDS, _MASK))


def test_what_is_no_text_encoder_is_named(tmp_path: Path) -> None:
    GPT2Model(GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a `gpt2`, which is no text encoder"):
        tower_of(pretrained(tmp_path))
    with pytest.raises(InputError, match="there is no such folder"):
        tower_of(pretrained(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"objective\.text\.scratch\.hidden_sise.*did you mean"):
        tower_of(config_of(scratch={**_BERT, "hidden_sise": 3}))
    with pytest.raises(ConfigError, match=r"objective\.text\.max_tokens.*positions for 16"):
        tower_of(config_of(scratch=_BERT, max_tokens=17))
    with pytest.raises(ConfigError, match=r"objective\.text\.pooling.*no"):
        tower_of(config_of(scratch=_T5, pooling="pooler"))
    with pytest.raises(ConfigError, match=r"objective\.text\.projection.*6"):
        tower_of(config_of(scratch=_BERT, projection="none"))


def test_changed_weights_are_noticed(bert: Path) -> None:
    with pytest.raises(CheckpointError, match="weights have changed"):
        tower_of(pretrained(bert, sha256="0" * 64))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "give either"),
        ({"scratch": {}, "tokenizer": {"kind": "train"}}, "needs `architecture`"),
        ({"scratch": _BERT, "dropout": 0.1}, "`dropout` is for `pretrained`"),
        ({"scratch": _BERT, "tokenizer": {"kind": "pretrained"}}, "kind: train"),
        ({"scratch": _BERT, "freeze": True}, "random weights"),
        ({"pretrained": "x", "freeze": True, "lora": {}}, "set one of them"),
        ({"pretrained": "x", "lora": {"targets": []}}, "names no layers"),
    ],
)
def test_sections_that_contradict_themselves(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config_of(**keys)
