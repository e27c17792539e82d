"""The facts about a tokenizer that a model needs: its size and its special tokens."""

from dataclasses import dataclass


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
