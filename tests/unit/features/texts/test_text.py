"""Tokens of texts: each kind of tokenizer, and what identifies it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from signwriting.tokenizer import SignWritingTokenizer

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.features.text import TextFeaturesConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.errors import ClipError, ConfigError, InputError
from kinesweep.core.schema import StreamSchema
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import train_tokenizer
from kinesweep.features import build_features
from kinesweep.sources.base import SourceText
from written import SIGNS, texts


def step_of(**tokenizer: Any) -> Any:
    plain = {"kind": "text", "stream": "words", "tokenizer": tokenizer}
    return build_features(validate_config(TextFeaturesConfig, plain, "test"))


def ids_of(text: str, **tokenizer: Any) -> list[int]:
    features = step_of(**tokenizer).compute_features(SourceText(text))["words"]
    assert features.x_TD.dtype == np.int32 and features.x_TD.shape[1] == 1
    assert features.x_TD.max() < features.vocabulary.size
    assert step_of(**tokenizer).estimate_shapes(SourceText(text)) == {"words": features.x_TD.shape}
    return features.x_TD[:, 0].tolist()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = TrainedTokenizerConfig(kind="train", algorithm="word", size=64)
    TextTokenizer(train_tokenizer(config, texts(8), ["__ase__"])).save(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_bytes() -> None:
    assert ids_of("añ\n", kind="bytes") == [97, 0xC3, 0xB1, 10]


def test_words_of_a_list_a_text_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("RAIN\nNORTH\n")
    for words in (["RAIN", "NORTH"], "RAIN, NORTH", str(tmp_path / "words.txt")):
        assert ids_of(" NORTH sun  RAIN ", kind="words", words=words) == [2, 0, 1]
    assert ids_of("NORTH", kind="words", words="north", lowercase=True) == [1]
    with pytest.raises(ConfigError, match="twice"):
        step_of(kind="words", words=["a", "a"])


def test_signs_have_the_ids_of_the_package() -> None:
    text = " ".join(SIGNS)
    assert ids_of(text, kind="fsw") == SignWritingTokenizer().tokenize(text)
    assert step_of(kind="fsw").compute_features(SourceText(text))["words"].vocabulary.size == len(
        SignWritingTokenizer()
    )


def test_a_pretrained_tokenizer_adds_nothing_around_a_text(folder: Path) -> None:
    tokenizer = TextTokenizer.load(folder)
    expected = tokenizer.encode_text("rain in the north")
    assert ids_of("rain in the north", kind="pretrained", path=str(folder)) == expected
    assert ids_of("RAIN in the north", kind="pretrained", path=str(folder), lowercase=True) == (
        expected
    )
    plain = ids_of("__gsg__ rain", kind="pretrained", path=str(folder))
    added = ids_of("__gsg__ rain", kind="pretrained", path=str(folder), new_tokens=["__gsg__"])
    assert added[0] == tokenizer.vocabulary.size and added != plain


def test_a_missing_tokenizer(tmp_path: Path) -> None:
    step = step_of(kind="pretrained", path=str(tmp_path / "none"))
    with pytest.raises(InputError, match="there is no such folder"):
        _ = step.fingerprint
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="does not contain a tokenizer"):
        _ = step_of(kind="pretrained", path=str(tmp_path / "empty")).fingerprint


def test_what_changes_ids_changes_fingerprint_and_vocabulary(folder: Path) -> None:
    pretrained = {"kind": "pretrained", "path": str(folder)}
    settings: list[dict[str, Any]] = [
        {"kind": "bytes"},
        {"kind": "fsw"},
        {"kind": "words", "words": ["a"]},
        {"kind": "words", "words": ["b"]},
        pretrained,
        {**pretrained, "new_tokens": ["<x>"]},
    ]
    steps = [step_of(**tokenizer) for tokenizer in settings]
    fingerprints = [step.fingerprint for step in steps]
    assert len(set(fingerprints)) == len(steps)
    media = SourceText(SIGNS[0])
    found = {step.compute_features(media)["words"].vocabulary.sha256 for step in steps}
    assert len(found) == len(steps)
    copy = folder.with_name("copy")
    folder.rename(copy)
    assert step_of(kind="pretrained", path=str(copy)).fingerprint == fingerprints[4]


def test_a_text_without_tokens(folder: Path) -> None:
    with pytest.raises(ClipError, match="no tokens"):
        ids_of("   ", kind="words", words=["a"])


def test_a_schema_keeps_its_vocabulary() -> None:
    vocabulary = step_of(kind="bytes").compute_features(SourceText("a"))["words"].vocabulary
    schema = StreamSchema(1, 1.0, "int32", vocabulary=vocabulary)
    assert StreamSchema.from_json(schema.to_json()) == schema
    assert "vocabulary" not in StreamSchema(1, 1.0, "float16").to_json()
