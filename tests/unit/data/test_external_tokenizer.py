"""Given tokenizers: SentencePiece's own models, trained here, cut as SentencePiece itself does."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from kinesweep.config.recipe.model import FolderTokenizerConfig, ModelConfig, TrainedTokenizerConfig
from kinesweep.core.errors import InputError
from kinesweep.data.external_tokenizer import load_external_tokenizer
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.tokenizer import train_tokenizer

PARTS = (
    ("rain", "the sun", "a dog's owner"),
    ("reaches", "warms", "leaves"),
    ("north", "harbour", "garden"),
    ("today", "at noon", "in 2023"),
)
TEXTS = [f"{who} {does} the {what}, {when}." for who, does, what, when in product(*PARTS)]
SAID = [
    *TEXTS[::9],
    "  two  spaces ",
    "\ufb01ne \u00bd",
    "it's 'quoted' (well)",
    "unknown \u2603 x",
]


def train(folder: Path, **keys: Any) -> sentencepiece.SentencePieceProcessor:
    """Writes `sentencepiece.model` and gives SentencePiece's own reading of it."""
    folder.mkdir(exist_ok=True)
    with (folder / "sentencepiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS),
            model_writer=file,
            minloglevel=2,
            **{"vocab_size": 60, "hard_vocab_limit": False, **keys},
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))


def write_dictionary(folder: Path, pieces: list[str]) -> None:
    lines = "".join(f"{piece} 100\n" for piece in pieces)
    (folder / "dictionary.txt").write_text(lines, encoding="utf-8")


@pytest.mark.parametrize("rule", ["nmt_nfkc", "nmt_nfkc_cf", "identity"])
def test_a_model_alone_cuts_and_numbers_as_sentencepiece(tmp_path: Path, rule: str) -> None:
    theirs = train(tmp_path / "spm", normalization_rule_name=rule)
    text = TextTokenizer(load_external_tokenizer(str(tmp_path / "spm"), [], []))
    for said in SAID:
        ids = text.encode_target("", said)[:-1]
        assert ids == theirs.encode(said), said
        known = [i for i in ids if i != theirs.unk_id()]
        assert text.decode(known) == theirs.decode(known)
    words = text.vocabulary
    assert (words.bos_id, words.eos_id) == (theirs.bos_id(), theirs.eos_id())
    assert words.pad_id == len(theirs)  # it has none: last


def test_a_dictionary_numbers_as_fairseq(tmp_path: Path) -> None:
    theirs = train(tmp_path / "spm")
    pieces = [theirs.id_to_piece(i) for i in range(3, len(theirs))][::-1]
    write_dictionary(tmp_path / "spm", [*pieces, "madeupword0000"])
    text = TextTokenizer(load_external_tokenizer(str(tmp_path / "spm"), [], []))
    numbers = {piece: 4 + n for n, piece in enumerate(pieces)}
    for said in SAID:
        wanted = [numbers.get(piece, 3) for piece in theirs.encode(said, out_type=str)]
        assert text.encode_target("", said) == [*wanted, 2]
    words = text.vocabulary
    assert (words.bos_id, words.pad_id, words.eos_id) == (0, 1, 2)
    assert words.size == 4 + len(pieces) + 1


def test_a_recipe_takes_it_adds_tags_and_saves_it(tmp_path: Path) -> None:
    train(tmp_path / "spm")
    config = FolderTokenizerConfig(path=str(tmp_path / "spm"), new_tokens=("__asl__",))
    text = build_tokenizer(config, [], None)
    assert len(text.encode_prompt("__asl__")) == 1
    text.save(tmp_path / "saved")
    again = build_tokenizer(FolderTokenizerConfig(path=str(tmp_path / "saved")), [], None)
    for said in SAID:
        assert again.encode_target("__asl__", said) == text.encode_target("__asl__", said)
    assert again.vocabulary == text.vocabulary


def test_a_folder_of_hugging_faces(tmp_path: Path) -> None:
    made = TextTokenizer(
        train_tokenizer(TrainedTokenizerConfig(algorithm="word", size=64), TEXTS, [])
    )
    made.save(tmp_path / "saved")
    text = build_tokenizer(FolderTokenizerConfig(path=str(tmp_path / "saved")), [], None)
    assert text.encode_target("", TEXTS[0]) == made.encode_target("", TEXTS[0])
    scratch = {"architecture": "m2m_100"}
    plain = {"backbone": {"scratch": scratch}, "tokenizer": {"kind": "folder", "path": "there"}}
    assert ModelConfig.model_validate(plain).tokenizer.kind == "folder"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    theirs = train(tmp_path / "spm")
    write_dictionary(tmp_path / "spm", [theirs.id_to_piece(i) for i in range(4, len(theirs))])
    cases = {"lacks 1 pieces of the model beside it": tmp_path / "spm"}
    train(tmp_path / "bpe", model_type="bpe")
    cases["not a plain unigram model"] = tmp_path / "bpe"
    for name in ("two", "odd", "none"):
        (tmp_path / name).mkdir()
    for name in ("a.model", "b.model"):
        (tmp_path / "two" / name).write_bytes(b"")
    cases[r"contains `a.model`, `b.model`"] = tmp_path / "two"
    (tmp_path / "odd/a.model").write_bytes(b"no model")
    cases["is not a SentencePiece model"] = tmp_path / "odd"
    cases["has no tokenizer"] = tmp_path / "none"
    for said, folder in cases.items():
        with pytest.raises(InputError, match=said):
            load_external_tokenizer(str(folder), [], [])
