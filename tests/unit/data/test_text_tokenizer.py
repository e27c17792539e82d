"""Tokenizers of every family: language codes are one token, nothing is written that was not asked.

Tiny ones are built and saved here as Hugging Face saves them, letters as pieces.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from kinesweep.config.recipe.model import PretrainedTokenizerConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.store.format.index import ClipRecord

TEXT = "rain in the north"
LETTERS = sorted(set(TEXT.replace(" ", "")))
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]


def scored(first: list[str]) -> list[tuple[str, float]]:
    """A unigram model's pieces."""
    return [(piece, 0.0) for piece in first] + [(piece, -2.0) for piece in ["▁", *LETTERS]]


def numbered(space: str) -> dict[str, int]:
    """A BPE model's pieces."""
    return {piece: index for index, piece in enumerate([*SPECIALS, space, *LETTERS])}


FAMILIES: dict[str, tuple[Callable[[], Any], str]] = {
    "nllb": (lambda: transformers.NllbTokenizer(numbered("▁"), []), "deu_Latn"),
    "mbart": (lambda: transformers.MBartTokenizer(scored(SPECIALS)), "de_DE"),
    "mbart50": (lambda: transformers.MBart50Tokenizer(scored(SPECIALS)), "de_DE"),
    "t5": (lambda: transformers.T5Tokenizer(scored(["<pad>", "</s>", "<unk>"])), "__de__"),
    "byt5": (lambda: transformers.ByT5Tokenizer(), "__de__"),
    "bart": (lambda: transformers.BartTokenizer(numbered("Ġ"), []), "__de__"),
}
"""Name → how it is made, and what its prompts call German."""


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def text(family: str, tmp_path: Path) -> TextTokenizer:
    make, code = FAMILIES[family]
    make().save_pretrained(tmp_path / "saved")
    clip = Clip(
        id="c", split="train", media="c.pose", encoder_prompt="__dgs__", decoder_prompt=code
    )
    record = ClipRecord(clip, {"pose": 1}, {"pose": 25.0}, "s", 0, "k", "d")
    return build_tokenizer(PretrainedTokenizerConfig(), [record], str(tmp_path / "saved"))


def test_prompts_are_one_token_each(family: str, text: TextTokenizer) -> None:
    code = FAMILIES[family][1]
    ids = [*text.encode_prompt("__dgs__"), *text.encode_prompt(code)]
    known = text.tokenizer.get_vocab()
    assert ids == [known["__dgs__"], known[code]]
    assert len({*ids, text.vocabulary.pad_id, text.vocabulary.eos_id}) == 4
    assert max(ids) < text.vocabulary.size


def test_targets_hold_prompt_text_and_end(family: str, text: TextTokenizer) -> None:
    code = FAMILIES[family][1]
    ids = text.encode_target(code, TEXT)
    (prompt,) = text.encode_prompt(code)
    assert ids[0] == prompt and ids[-1] == text.vocabulary.eos_id
    assert len(ids) >= len(LETTERS) and ids.count(text.vocabulary.eos_id) == 1
    assert ids.count(prompt) == 1 and text.tokenizer.unk_token_id not in ids
    padded = [*ids, text.vocabulary.pad_id]
    assert text.decode(padded, [prompt]) == TEXT


def test_what_is_saved_gives_the_same_ids(family: str, text: TextTokenizer, tmp_path: Path) -> None:
    text.save(tmp_path / "again")
    again = TextTokenizer.load(tmp_path / "again")
    code = FAMILIES[family][1]
    assert again.encode_target(code, TEXT) == text.encode_target(code, TEXT)
    assert again.encode_prompt("__dgs__") == text.encode_prompt("__dgs__")
    assert again.vocabulary == text.vocabulary


def test_without_padding_the_end_of_a_sentence_stands_in() -> None:
    tokenizer = FAMILIES["bart"][0]()
    tokenizer.pad_token = None
    words = TextTokenizer(tokenizer).vocabulary
    assert (words.pad_id, words.eos_id, words.bos_id) == (2, 2, 0)
    assert tokenizer.pad_token is None, "the tokenizer itself stays as it was"
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="`eos_token`"):
        TextTokenizer(tokenizer)
