from collections.abc import Callable
from typing import Any

import pytest

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.errors import ConfigError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import build_translator, check_backbone_config

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"d_mode": 8}, "model.backbone.scratch.d_mode", "did you mean `d_model`?"),
    ({"hidden_size": 8}, "model.backbone.scratch.hidden_size", "calls it `d_model`"),
    ({"vocab_size": 8}, "model.backbone.scratch.vocab_size", "set by the tokenizer"),
    ({"forced_bos_token_id": 3}, "model.backbone.scratch.forced_bos_token_id", "remove it"),
    ({"num_beams": 4}, "model.backbone.scratch.num_beams", "unknown to `m2m_100`"),
    (
        {"architecture": "m2m100"},
        "model.backbone.scratch.architecture",
        "did you mean `m2m_100`?",
    ),
    (
        {"architecture": "gpt2"},
        "model.backbone.scratch.architecture",
        "not a Hugging Face encoder-decoder",
    ),
    ({"d_model": "wide"}, "model.backbone.scratch", "d_model"),
    ({"d_model": 15}, "model.backbone.scratch", "divisible"),
    ({"activation_function": "rleu"}, "model.backbone.scratch", "rleu"),
]


@pytest.mark.parametrize(("keys", "path", "text"), CASES)
def test_what_is_wrong_is_named(
    recipe: Callable[..., ModelConfig],
    words: Vocabulary,
    keys: dict[str, Any],
    path: str,
    text: str,
) -> None:
    config = recipe(**keys)
    for build in (
        lambda: check_backbone_config(config),
        lambda: build_translator(config, {"pose": 5}, words),
    ):
        with pytest.raises(ConfigError) as caught:
            build()
        assert caught.value.problems[0][0] == path
        assert text in str(caught.value)


def test_all_unknown_keys_at_once(recipe: Callable[..., ModelConfig]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_backbone_config(recipe(d_mode=8, dropuot=0.1))
    assert [path.rsplit(".", 1)[1] for path, _ in caught.value.problems] == ["d_mode", "dropuot"]


@pytest.mark.parametrize("architecture", ["m2m_100", "bart", "t5"])
def test_good_keys_pass(recipe: Callable[..., ModelConfig], architecture: str) -> None:
    check_backbone_config(recipe(architecture))


def test_keys_reach_the_backbone(translator: Callable[..., Any]) -> None:
    assert translator(dropout=0.25).backbone.config.dropout == 0.25
    assert (
        translator("t5", tie_word_embeddings=False).backbone.config.scale_decoder_outputs is False
    )
