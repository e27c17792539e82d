"""Texts become padded ids with the special tokens of their model."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from kinesweep.config.recipe.model import PretrainedTokenizerConfig, TrainedTokenizerConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.windows.captions import (
    CaptionTokenizer,
    build_caption_tokenizer,
    check_captions,
)
from kinesweep.store.format.index import ClipRecord

_TEXTS = ("the cat sat", "a dog", "the dog sat")


def records_of(*texts: str) -> list[ClipRecord]:
    clips = [
        Clip(str(number), "train", "x", texts=(text,) if text else ())
        for number, text in enumerate(texts)
    ]
    return [ClipRecord(clip, {}) for clip in clips]


def trained(max_tokens: int = 8, **keys: Any) -> CaptionTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=32, **keys)
    return build_caption_tokenizer(config, records_of(*_TEXTS), None, None, max_tokens)


def test_our_own_tokenizer_marks_both_ends() -> None:
    tokenizer = trained()
    ids, mask = tokenizer(["the cat sat", "a dog"])
    vocabulary = tokenizer.vocabulary
    assert ids.shape == (2, 5) and mask.tolist() == [[True] * 5, [True] * 4 + [False]]
    assert ids[:, 0].tolist() == [vocabulary.bos_id] * 2
    assert ids[1].tolist()[3:] == [vocabulary.eos_id, vocabulary.pad_id]


def test_longer_texts_keep_their_end_and_are_counted() -> None:
    tokenizer = trained(max_tokens=4)
    ids, _ = tokenizer(["the cat sat"])
    assert ids.shape == (1, 4) and ids[0, -1] == tokenizer.vocabulary.eos_id
    assert tokenizer.count_cut(_TEXTS) == 2


def test_lowercase() -> None:
    assert trained(lowercase=True)(["The CAT"])[0].equal(trained()(["the cat"])[0])


def test_a_pretrained_tokenizer_adds_what_its_model_knows(tmp_path: Path) -> None:
    words = {w: i for i, w in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "cat"])}
    raw = Tokenizer(models.WordLevel(words, "[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    PreTrainedTokenizerFast(
        tokenizer_object=raw,
        **{"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
        unk_token="[UNK]",
    ).save_pretrained(tmp_path)
    config = PretrainedTokenizerConfig()
    tokenizer = build_caption_tokenizer(config, [], str(tmp_path), None, 4)
    ids, mask = tokenizer(["the cat the cat", "cat"])
    assert ids.tolist() == [[1, 4, 5, 2], [1, 5, 2, 0]] and mask.sum() == 7
    assert tokenizer.vocabulary.size == 6 and tokenizer.count_cut(["the cat the"]) == 1
    with pytest.raises(InputError, match=r"objective\.text\.pretrained"):
        build_caption_tokenizer(config, [], None, None, 4)


def test_clips_without_a_text_are_named() -> None:
    check_captions(records_of(*_TEXTS), "train")
    with pytest.raises(InputError, match="1 of 3 clips in `train` have no text, for example `1`"):
        check_captions(records_of("a", "", "b"), "train")
