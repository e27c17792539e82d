"""Tokenizers of source texts, selected by `kind`: a text becomes the ids of its tokens.

No tokenizer adds special tokens around a text: the model appends its own end of sentence.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from kinesweep.config.recipe.features.text import (
    PretrainedTextTokenizerConfig,
    SourceTokenizerConfig,
    WordsTokenizerConfig,
)
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_file_sha256, compute_fingerprint
from kinesweep.core.paths import is_local_path
from kinesweep.core.vocabulary import TokenVocabulary, compute_tokens_sha256
from kinesweep.sources.written.fsw import get_fsw_tokens, tokenize_fsw

_NUM_BYTES = 256
_UNKNOWN_WORD = "<unk>"
# Files of a saved tokenizer, and the configuration of its model, which may determine its class.
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "*.model", "config.json"),
)


class SourceTokenizer(Protocol):
    """A tokenizer of source texts."""

    @property
    def vocabulary(self) -> TokenVocabulary:
        """Return the vocabulary, which identifies the tokens and their ids."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the ids of the tokens of a text.

        Raises:
            ClipError: If the text has another notation than the tokens.
        """


class BytesTokenizer:
    """A tokenizer whose tokens are the bytes of the text in UTF-8."""

    @property
    def vocabulary(self) -> TokenVocabulary:
        """Return the vocabulary of 256 bytes."""
        tokens = [(str(number), number) for number in range(_NUM_BYTES)]
        return TokenVocabulary("bytes", _NUM_BYTES, compute_tokens_sha256(tokens))

    def encode(self, text: str) -> Sequence[int]:
        """Return the bytes of a text in UTF-8."""
        return text.encode()


class FswTokenizer:
    """A tokenizer of SignWriting (see `sources.written.fsw`)."""

    @cached_property
    def _ids_by_token(self) -> dict[str, int]:
        """Return token → id."""
        return {token: token_id for token_id, token in enumerate(get_fsw_tokens())}

    @property
    def vocabulary(self) -> TokenVocabulary:
        """Return the vocabulary of boxes, symbols, rotations, fills and coordinates."""
        ids = self._ids_by_token
        return TokenVocabulary("fsw", len(ids), compute_tokens_sha256(ids.items()))

    def encode(self, text: str) -> Sequence[int]:
        """Return the ids of the tokens of a text in FSW.

        Raises:
            ClipError: With reason `invalid_fsw`.
        """
        return [self._ids_by_token[token] for token in tokenize_fsw(text)]


class WordsTokenizer:
    """A tokenizer of words between spaces; id 0 stands for all words that are not in the list.

    Args:
        config: List of the words.
    """

    def __init__(self, config: WordsTokenizerConfig) -> None:
        self._lowercase = config.lowercase
        # The list may name the unknown word, which has its place already.
        words = [_UNKNOWN_WORD, *(word for word in config.words if word != _UNKNOWN_WORD)]
        self._ids_by_word = {word: word_id for word_id, word in enumerate(words)}

    @property
    def vocabulary(self) -> TokenVocabulary:
        """Return the vocabulary of the unknown word and the listed ones."""
        ids = self._ids_by_word
        return TokenVocabulary("words", len(ids), compute_tokens_sha256(ids.items()))

    def encode(self, text: str) -> Sequence[int]:
        """Return the ids of the words of a text."""
        words = (text.lower() if self._lowercase else text).split()
        return [self._ids_by_word.get(word, 0) for word in words]


class PretrainedTokenizer:
    """A Hugging Face tokenizer that adds no special tokens around a text.

    Args:
        config: Folder or hub id of the tokenizer, and tokens to add.

    Raises:
        InputError: If no tokenizer can be loaded.
    """

    def __init__(self, config: PretrainedTextTokenizerConfig) -> None:
        # Takes seconds, and most kinds do not need it.
        from kinesweep.features.texts.hf_tokenizer import load_pretrained_tokenizer

        self._lowercase = config.lowercase
        self._tokenizer: Any = load_pretrained_tokenizer(config.path, config.new_tokens)

    @cached_property
    def vocabulary(self) -> TokenVocabulary:
        """Return the vocabulary of the tokenizer; ids may have gaps."""
        ids = dict(self._tokenizer.get_vocab())
        size = max(ids.values()) + 1
        return TokenVocabulary("pretrained", size, compute_tokens_sha256(ids.items()))

    def encode(self, text: str) -> Sequence[int]:
        """Return the ids of the tokens of a text, without special tokens around it."""
        text = text.lower() if self._lowercase else text
        # `verbose`: transformers would warn of texts that are too long for the model of the
        # tokenizer.
        return list(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))


@lru_cache(maxsize=4)
def build_source_tokenizer(config: SourceTokenizerConfig) -> SourceTokenizer:
    """Build the tokenizer that `config.kind` names, or return it cached.

    Each process caches the four tokenizers that it used last.

    Raises:
        InputError: If a pretrained tokenizer cannot be loaded.
    """
    return _TOKENIZERS[config.kind](config)


def compute_tokenizer_fingerprint(config: SourceTokenizerConfig) -> str:
    """Compute a hash of a tokenizer's settings, and of the content of its files if it has any.

    Raises:
        InputError: If the files of a pretrained tokenizer do not exist or cannot be downloaded.
    """
    # The content of its files identifies a tokenizer, not the place where they lie.
    settings = config.model_dump(mode="json", exclude={"path"})
    file_hashes = (
        [compute_file_sha256(path) for path in list_tokenizer_files(config)]
        if isinstance(config, PretrainedTextTokenizerConfig)
        else []
    )
    return compute_fingerprint([settings, file_hashes])


def list_tokenizer_files(config: PretrainedTextTokenizerConfig) -> list[Path]:
    """List the files of a pretrained tokenizer in a fixed order; those of the hub are downloaded.

    Raises:
        InputError: If there are none, or they cannot be downloaded.
    """
    folder = _resolve_tokenizer_dir(config.path)
    paths = [path for pattern in _TOKENIZER_FILES for path in sorted(folder.glob(pattern))]
    if not paths:
        raise InputError(
            f"`features.tokenizer.path` is `{folder}`, which does not contain a tokenizer; give a"
            " folder written by `save_pretrained`"
        )
    return paths


def _resolve_tokenizer_dir(name: str) -> Path:
    """Return the folder of a tokenizer; the files of a hub id are downloaded to the cache.

    Raises:
        InputError: If there is no such folder, or the files cannot be downloaded.
    """
    if Path(name).is_dir():
        return Path(name)
    # A mistyped path must not become a request to the hub, whose error would be misleading.
    if is_local_path(name):
        raise InputError(f"`features.tokenizer.path` is `{name}`, but there is no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_TOKENIZER_FILES)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"`features.tokenizer.path` is `{name}`, which is not a local folder and cannot be"
            f" downloaded from the hub: {reason}"
        ) from None


_TOKENIZERS: Mapping[str, Any] = {
    "bytes": lambda _: BytesTokenizer(),
    "fsw": lambda _: FswTokenizer(),
    "words": WordsTokenizer,
    "pretrained": PretrainedTokenizer,
}
