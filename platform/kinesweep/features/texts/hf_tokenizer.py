"""Hugging Face tokenizers as they were saved, and tokens added to them.

The tokenizer of a model and that of its source texts pass through the same functions, so that equal
settings give equal ids.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken
from transformers import AutoTokenizer

from kinesweep.core.errors import InputError

_TAG = re.compile(r"__\S+__")


def is_tag(word: str) -> bool:
    """Return whether a word has the form of a prompt tag, such as `__asl__`."""
    return _TAG.fullmatch(word) is not None


def find_tags(prompts: Iterable[str]) -> list[str]:
    """Find the distinct tags among the words of the prompts, sorted."""
    return sorted({word for prompt in prompts for word in prompt.split() if is_tag(word)})


def load_pretrained_tokenizer(
    name: str,
    new_tokens: Sequence[str],
    prompts: Sequence[str] = (),
    revision: str | None = None,
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
    # Shared by targets and source texts: their ids must be assigned in the same order.
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
