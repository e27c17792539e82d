"""Tokenizers: trained on the texts of the training split, or loaded from a pretrained folder.

The result is a Hugging Face tokenizer. Training is deterministic to the byte, because the identity
of a run depends on it. A space belongs to the word after it and punctuation marks are separate, so
a text without outer spaces and unknown characters decodes to itself, byte for byte. Nothing is
lowercased or normalized.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.errors import InputError
from kinesweep.data.tokenizer_models import (
    SPECIAL_TOKENS,
    build_word_level,
    train_bpe,
    train_unigram,
)

# A punctuation mark, with the space before it. The listed ASCII symbols are not in class P.
_PUNCTUATION = r"▁?(?:\p{P}|[$+<=>^`|~])"
_TAG = re.compile(r"__\S+__")


def is_tag(word: str) -> bool:
    """Return whether a word has the form of a prompt tag, such as `__asl__`."""
    return _TAG.fullmatch(word) is not None


def find_tags(prompts: Iterable[str]) -> list[str]:
    """Find the distinct tags among the words of the prompts, sorted."""
    return sorted({word for prompt in prompts for word in prompt.split() if is_tag(word)})


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


def load_pretrained_tokenizer(
    name: str, new_tokens: Sequence[str], prompts: Sequence[str], revision: str | None = None
) -> Any:
    """Load the tokenizer of a pretrained model and add `new_tokens` and the tags of the prompts.

    For an M2M-100 tokenizer, missing language codes are added at their own ids as well. Tokens that
    the tokenizer already has keep their ids.

    Args:
        name: Local folder or hub id.
        new_tokens: Tokens to add.
        prompts: Prompts whose tags are added.
        revision: Branch, tag or commit of a hub id; None for the latest.

    Raises:
        InputError: If no tokenizer can be loaded.
    """
    tokenizer = read_tokenizer(name, revision)
    # Before tokens are added, which would otherwise get the ids of the language codes.
    _add_language_codes(tokenizer)
    add_tokens(tokenizer, [*new_tokens, *find_tags(prompts)], prompts)
    return tokenizer


def read_tokenizer(name: str, revision: str | None = None) -> Any:
    """Load a Hugging Face tokenizer as it was saved, without executing code that comes with it.

    Args:
        name: Local folder or hub id.
        revision: Branch, tag or commit of a hub id; None for the latest.

    Raises:
        InputError: If no tokenizer can be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
    except Exception as error:  # the tokenizers library raises plain `Exception` for a bad file
        reason = str(error).strip().split("\n")[0]
        location = f" at the revision `{revision}`" if revision else ""
        raise InputError(
            f"`{name}`{location} has no tokenizer that can be loaded: {reason}\nAllowed: a local"
            " folder with the tokenizer's files, or the id of a model on a reachable hub."
        ) from None
    for key in ("is_local", "local_files_only"):
        # These describe how it was loaded; `save_pretrained` would write them into its files.
        tokenizer.init_kwargs.pop(key, None)
    return tokenizer


def add_tokens(tokenizer: Any, tokens: Iterable[str], prompts: Iterable[str]) -> None:
    """Add tokens that are never split to a Hugging Face tokenizer, in place.

    Tokens that are already in the vocabulary keep their ids. Tags and words of the prompts become
    special tokens, which decoding leaves out; other tokens are part of decoded text.

    Args:
        tokenizer: Hugging Face tokenizer.
        tokens: Tokens to add.
        prompts: Prompts whose words become special tokens if they are among `tokens`.
    """
    prompt_words = {word for prompt in prompts for word in prompt.split()}
    for token in dict.fromkeys(tokens):
        # One by one: `add_tokens` has a single value of `special_tokens` for all of its tokens.
        is_special = is_tag(token) or token in prompt_words
        tokenizer.add_tokens(
            [AddedToken(token, normalized=False, special=is_special)], special_tokens=is_special
        )


def _add_language_codes(tokenizer: Any) -> None:
    """Add the language codes of an M2M-100 tokenizer to its vocabulary, at their own ids.

    Other tokenizers are not changed. If the saved files do not list them, transformers 5 knows
    their ids but splits the codes into pieces, and would assign the same ids to new tokens.
    """
    language_ids: dict[str, int] = getattr(tokenizer, "lang_token_to_id", {})
    ids_by_token = tokenizer.get_vocab()
    # In the order of their ids, because ids are assigned consecutively.
    codes = sorted(language_ids, key=lambda code: language_ids[code])
    missing = [code for code in codes if code not in ids_by_token]
    new_tokens = [AddedToken(code, normalized=False, special=True) for code in missing]
    tokenizer.add_tokens(new_tokens, special_tokens=True)
    misplaced = [code for code in missing if tokenizer.get_vocab()[code] != language_ids[code]]
    assert not misplaced, f"language codes moved: {misplaced}"


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
