"""What a model must know of its tokenizer: how many tokens, and which are special."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """Numbers of a tokenizer.

    Attributes:
        size: tokens, special and added ones included.
        pad_id: padding.
        bos_id: beginning of a sentence.
        eos_id: end of a sentence.
    """

    size: int
    pad_id: int
    bos_id: int
    eos_id: int
