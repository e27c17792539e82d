"""The facts about vocabularies that a model needs: sizes, special tokens, identity.

`Vocabulary` is that of the tokenizer of texts to generate. `TokenVocabulary` is that of a stream of
token ids, the input of a model that translates texts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kinesweep.core.hashing import compute_fingerprint


@dataclass(frozen=True)
class Vocabulary:
    """Size and special token ids of a tokenizer.

    Attributes:
        size: Number of tokens, including special and added ones.
        pad_id: Id of the padding token.
        bos_id: Id of the beginning-of-sentence token.
        eos_id: Id of the end-of-sentence token.
    """

    size: int
    pad_id: int
    bos_id: int
    eos_id: int


@dataclass(frozen=True)
class TokenVocabulary:
    """The vocabulary of a stream of token ids.

    Attributes:
        kind: Kind of its tokenizer: `bytes`, `fsw`, `words` or `pretrained`.
        size: Number of ids; all ids of the stream are below it.
        sha256: SHA-256 of the tokens and their ids, 64 hexadecimal digits.
    """

    kind: str
    size: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Convert the vocabulary to plain values that JSON can represent."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TokenVocabulary":
        """Build a vocabulary from the output of `to_json`."""
        return cls(**values)


def compute_tokens_sha256(tokens: Iterable[tuple[str, int]]) -> str:
    """Compute the SHA-256 of tokens and their ids, in any order; 64 hexadecimal digits."""
    by_id = sorted((token_id, token) for token, token_id in tokens)
    return compute_fingerprint([list(pair) for pair in by_id])
