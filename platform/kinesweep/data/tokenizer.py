"""Tokenizers trained on the texts of the training split.

The result is a Hugging Face tokenizer. Training is deterministic to the byte, because the identity
of a run depends on it. A space belongs to the word after it and punctuation marks are separate, so
a text without outer spaces and unknown characters decodes to itself, byte for byte. Nothing is
lowercased or normalized.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.errors import InputError
from kinesweep.data.tokenizer_models import (
    SPECIAL_TOKENS,
    build_word_level,
    train_bpe,
    train_unigram,
)
from kinesweep.features.texts.hf_tokenizer import add_tokens, find_tags

# A punctuation mark, with the space before it. The listed ASCII symbols are not in class P.
_PUNCTUATION = r"▁?(?:\p{P}|[$+<=>^`|~])"


def train_tokenizer(
    config: TrainedTokenizerConfig, texts: Sequence[str], prompts: Sequence[str]
) -> Any:
    """Train a Hugging Face tokenizer on texts and prompts; equal arguments give equal files.

    Texts count as often as they occur, each distinct prompt once. The ids are assigned in this
    order: special tokens, `new_tokens`, tags of the prompts (added automatically), pieces.

    Args:
        config: Algorithm, vocabulary size and `new_tokens`, which are never split.
        texts: Texts of the training split.
        prompts: Prompts that the tokenizer must cover.

    Raises:
        InputError: If `size` is too small for the characters of the texts.
    """
    distinct_prompts = sorted(set(prompts))
    reserved = list(
        dict.fromkeys([*SPECIAL_TOKENS, *config.new_tokens, *find_tags(distinct_prompts)])
    )
    word_counts = _count_words([*texts, *distinct_prompts], reserved)
    num_pieces = config.size - len(reserved)
    _check_vocab_size(config, len(reserved), word_counts)
    if config.algorithm == "unigram":
        model = train_unigram(word_counts, num_pieces, reserved)
    elif config.algorithm == "bpe":
        model = train_bpe(word_counts, config.size, reserved)
    else:
        model = build_word_level(word_counts, num_pieces, reserved)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _build_pre_tokenizer()
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    pad, bos, eos, unk = SPECIAL_TOKENS
    fast_tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"pad_token": pad, "bos_token": bos, "eos_token": eos, "unk_token": unk},
        clean_up_tokenization_spaces=False,
    )
    add_tokens(fast_tokenizer, reserved[len(SPECIAL_TOKENS) :], distinct_prompts)
    return fast_tokenizer


def _build_pre_tokenizer() -> Any:
    """Build a pre-tokenizer that splits a text into words and punctuation marks.

    Each of them includes the space before it, written as `▁`.
    """
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(_PUNCTUATION), "isolated"),
        ]
    )


def _count_words(texts: Iterable[str], reserved: Sequence[str]) -> Counter[str]:
    """Count the words and punctuation marks of the texts, without reserved tokens.

    Each of them includes the space before it, written as `▁`.
    """
    # Longest first, so that a token is not split by another that is its prefix.
    longest_first = sorted(reserved, key=len, reverse=True)
    separator = re.compile("|".join(re.escape(token) for token in longest_first))
    pre_tokenizer = _build_pre_tokenizer()
    word_counts: Counter[str] = Counter()
    # Sorted, so that the result does not depend on the order of the texts.
    for text, count in sorted(Counter(texts).items()):
        for segment in separator.split(text):
            for word, _ in pre_tokenizer.pre_tokenize_str(segment):
                word_counts[word] += count
    return word_counts


def _check_vocab_size(
    config: TrainedTokenizerConfig, num_reserved: int, word_counts: Counter[str]
) -> None:
    """Check that `size` exceeds the number of reserved tokens and of different characters.

    Characters do not count for the algorithm `word`, which may leave words out of the vocabulary.

    Raises:
        InputError: If `size` is too small.
    """
    characters = set() if config.algorithm == "word" else {c for word in word_counts for c in word}
    min_size = num_reserved + len(characters) + 1
    if config.size < min_size:
        raise InputError(
            f"`model.tokenizer.size` is {config.size}, but the training texts contain"
            f" {len(characters)} different characters, and"
            f" {num_reserved} special tokens and tags are added;"
            f" set it to at least {min_size}"
        )
