"""Case that is taken from training texts, and given back to what is generated."""

import json
from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.data.text_tokenizer import CASING_FILE, TextTokenizer, build_tokenizer
from kinesweep.data.truecase import learn_truecaser
from kinesweep.store.format.index import ClipRecord

TEXTS = [
    "The rain reaches Berlin.",
    "In Berlin I'm cold. Rain falls on Berlin!",
    "NASA and the NASA team; the iPhone and I.",
    "a May day may end, may it not",
]


@pytest.mark.parametrize(
    ("lower", "cased"),
    [
        ("the rain reaches berlin.", "The rain reaches Berlin."),
        ("in berlin i'm cold. rain falls!", "In Berlin I'm cold. Rain falls!"),
        ("we saw nasa? i did.", "We saw NASA? I did."),
        ("iphone here", "iPhone here"),
        ("she said: may i?", "She said: may I?"),
        ('(well) "it ended." so', '(Well) "it ended." So'),
        ("3.5 km and more", "3.5 km and more"),
        ("", ""),
    ],
)
def test_words_get_their_form_and_sentences_a_capital(lower: str, cased: str) -> None:
    assert learn_truecaser(TEXTS).restore_case(lower) == cased


def test_beginnings_of_sentences_teach_nothing_and_ties_go_to_lower() -> None:
    assert learn_truecaser(["Rain. Rain! Rain? Rain"]).forms == {}
    assert learn_truecaser(["x May", "x may"]).forms == {}
    assert learn_truecaser(["x May", "y May", "x may"]).forms == {"may": "May"}


def record(text: str, number: int) -> ClipRecord:
    clip = Clip(
        id=f"c{number}", split="train", media="c.pose", encoder_prompt="__ASL__", texts=(text,)
    )
    return ClipRecord(clip, {"pose": 1}, {"pose": 25.0}, "s", 0, "k", "d")


def lowered() -> TextTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=64, lowercase=True)
    return build_tokenizer(config, [record(text, n) for n, text in enumerate(TEXTS)], None)


def test_labels_are_lower_case_and_prompts_are_not(tmp_path: Path) -> None:
    text = lowered()
    ids = text.encode_target("__ASL__", "Rain reaches BERLIN.")
    assert text.decode(ids) == "rain reaches berlin."
    assert text.decode(ids, truecase=True) == "Rain reaches Berlin."
    assert text.encode_prompt("__ASL__") == [text.tokenizer.get_vocab()["__ASL__"]]
    assert not any(word != word.lower() for word in text.tokenizer.get_vocab() if "_" not in word)


def test_what_is_saved_gives_the_same_case(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lowered().save(tmp_path / name)
    assert (tmp_path / "a" / CASING_FILE).read_bytes() == (
        tmp_path / "b" / CASING_FILE
    ).read_bytes()
    again = TextTokenizer.load(tmp_path / "a")
    assert again.truecaser == lowered().truecaser and again.lowercase
    ids = again.encode_target("", "NASA falls")
    assert ids == lowered().encode_target("", "nasa falls")
    assert again.decode(ids, truecase=True) == "NASA falls"
    assert json.loads((tmp_path / "a" / CASING_FILE).read_text())["forms"]["nasa"] == "NASA"


def test_a_cased_tokenizer_writes_no_file_of_it_and_knows_no_case(tmp_path: Path) -> None:
    config = TrainedTokenizerConfig(algorithm="word", size=64)
    text = build_tokenizer(config, [record(text, n) for n, text in enumerate(TEXTS)], None)
    text.save(tmp_path)
    assert not (tmp_path / CASING_FILE).exists()
    ids = text.encode_target("", "NASA falls")
    assert text.decode(ids) == "NASA falls"
    with pytest.raises(InputError, match="has no truecaser"):
        text.decode(ids, truecase=True)
    with pytest.raises(InputError, match="has no truecaser"):
        TextTokenizer(text.tokenizer, lowercase=True).decode(ids, truecase=True)


def test_truecase_needs_lowercase(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs `model\.tokenizer\.lowercase`"):
        tiny_recipe(tmp_path, tmp_path, generation={"truecase": True})
