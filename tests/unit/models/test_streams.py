"""An encoder for each stream, by name; names that no stream has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.errors import ConfigError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator

WIDTHS = {"pose": 5, "dino": 3}
Recipe = Callable[..., ModelConfig]


def changed(config: ModelConfig, **parts: Any) -> ModelConfig:
    return ModelConfig.model_validate({**config.model_dump(mode="json"), **parts})


def build(config: ModelConfig, words: Vocabulary, **more: Any) -> Translator:
    seed_everything(1)
    return build_translator(config, WIDTHS, words, **more)


def problems(config: ModelConfig, words: Vocabulary, *streams: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        build_translator(config, dict.fromkeys(streams, 2), words)
    return dict(caught.value.problems)


def test_each_stream_has_its_own_encoder(recipe: Recipe, words: Vocabulary, tmp_path: Path) -> None:
    own = {"dino": {"kind": "mlp", "hidden": [4], "activation": "gelu"}}
    model = build(changed(recipe(), encoders=own), words)
    assert isinstance(model.encoders["dino"].hidden[1], nn.GELU)
    assert not hasattr(model.encoders["pose"], "hidden"), "the others have `encoder`"
    model.save_pretrained(tmp_path)
    again = Translator.from_pretrained(tmp_path)
    assert again.config.get_model_config().get_encoder_config("dino").kind == "mlp"


def test_an_encoder_named_for_all_streams_is_that_of_all(recipe: Recipe, words: Vocabulary) -> None:
    plain = build(recipe(), words).state_dict()
    encoder = recipe().encoder.model_dump()
    named = build(changed(recipe(), encoders={"pose": encoder, "dino": encoder}), words)
    assert list(named.state_dict()) == list(plain)
    assert all(torch.equal(plain[key], value) for key, value in named.state_dict().items())


def test_statistics_reach_the_encoders_that_standardize(recipe: Recipe, words: Vocabulary) -> None:
    config = changed(recipe(), encoders={"dino": {"standardize": False}})
    statistics = {name: (torch.ones(n), torch.ones(n)) for name, n in WIDTHS.items()}
    model = build(config, words, statistics=statistics)
    assert model.encoders["pose"].mean.tolist() == [1.0] * 5
    assert "encoders.dino.mean" not in model.state_dict()


def test_streams_that_are_not_there_are_named_at_once(recipe: Recipe, words: Vocabulary) -> None:
    config = changed(
        recipe(),
        encoders={"dinno": {"kind": "mlp"}, "pose": {}},
        fusion={"kind": "channel", "length_of": "face"},
    )
    found = problems(config, words, "pose", "dino")
    assert list(found) == ["model.encoders.dinno", "model.fusion.length_of"]
    assert "did you mean `dino`?" in found["model.encoders.dinno"]
    assert "`pose`, `dino`" in found["model.fusion.length_of"]


def test_one_stream_cannot_be_left_out(recipe: Recipe, words: Vocabulary) -> None:
    config = changed(recipe(), fusion={"stream_dropout": 0.5})
    assert "`pose`" in problems(config, words, "pose")["model.fusion.stream_dropout"]
