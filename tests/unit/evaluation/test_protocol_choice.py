"""The tokenizer is chosen once from the training texts, the same for all splits and runs."""

import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.evaluation.text_normalization import describe_protocol, format_protocol
from kinesweep.evaluation.tokenization.protocol import (
    find_chosen_tokenizer,
    resolve_evaluation,
    resolve_protocol,
)
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord
from languages import SENTENCES, TOKENIZERS
from records import memory_store


def made_of(**languages: str) -> Store:
    """A store whose splits are in these languages."""
    return memory_store(  # type: ignore[no-any-return]
        *(
            ClipRecord(Clip(id=f"{split}{n}", split=split, media="m", texts=(text,)), {"pose": 3})
            for split, language in languages.items()
            for n, text in enumerate(SENTENCES[language])
        )
    )


@pytest.mark.parametrize("language", SENTENCES)
def test_the_choice_follows_the_training_texts(language: str) -> None:
    store, name = made_of(train=language, test="english"), TOKENIZERS[language]
    protocol = resolve_protocol(EvaluationConfig(), store)
    assert protocol.tokenize == name
    assert find_chosen_tokenizer(EvaluationConfig(), store) == (None if name == "13a" else name)
    assert describe_protocol(protocol).endswith(f"words by the tokenizer {name}")
    assert resolve_evaluation(EvaluationConfig(), store).protocol_config == protocol


def test_a_store_without_training_texts_uses_the_next_split() -> None:
    assert resolve_protocol(EvaluationConfig(), made_of(test="thai")).tokenize == "char"


def test_other_settings_of_a_protocol_stay() -> None:
    config = EvaluationConfig.model_validate({"protocol": {"punctuation": "drop"}})
    protocol = resolve_protocol(config, made_of(train="japanese"))
    assert format_protocol(protocol) == "punctuation=drop,tokenize=ja-mecab"
    english = resolve_protocol(config, made_of(train="english"))
    # The name from before a tokenizer was chosen, so that signatures stay comparable.
    assert format_protocol(english) == "punctuation=drop"


@pytest.mark.parametrize("protocol", ["phoenix", "csl_char", {"tokenize": "13a"}])
def test_a_named_tokenizer_is_not_replaced(protocol: object) -> None:
    config = EvaluationConfig.model_validate({"protocol": protocol})
    store = made_of(train="japanese")
    assert resolve_protocol(config, store) == config.protocol_config
    assert find_chosen_tokenizer(config, store) is None


def test_mixed_corpora_are_refused_unless_a_tokenizer_is_named() -> None:
    sentences = [*SENTENCES["japanese"], *SENTENCES["german"]]
    clips = [Clip(id=str(n), split="train", media="m", texts=(t,)) for n, t in enumerate(sentences)]
    store = memory_store(*(ClipRecord(clip, {"pose": 3}) for clip in clips))
    with pytest.raises(InputError, match=r"of 20 examined texts, 10 .*10 "):
        resolve_protocol(EvaluationConfig(), store)
    named = EvaluationConfig.model_validate({"protocol": {"tokenize": "char"}})
    assert resolve_protocol(named, store).tokenize == "char"
