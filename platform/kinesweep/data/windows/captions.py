"""Texts of clips as padded token ids, as the text tower of pretraining reads them.

A pretrained tokenizer adds the special tokens that its model was trained with; one of our own puts
the beginning and the end of a sentence around a text. Longer texts are cut, and counted.

Shapes: B texts, L tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinesweep.config.recipe.model import TokenizerConfig
from kinesweep.core.errors import InputError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.data.text_tokenizer import build_tokenizer
from kinesweep.features.texts.hf_tokenizer import load_pretrained_tokenizer
from kinesweep.store.format.index import ClipRecord


class CaptionTokenizer:
    """A tokenizer of texts with special tokens around them.

    Args:
        tokenizer: Hugging Face tokenizer.
        vocabulary: Size and special ids.
        max_tokens: Longest text in tokens, with special tokens.
        lowercase: Whether texts are lowercased first.
        adds_special: Whether the tokenizer adds its special tokens itself.
    """

    def __init__(
        self,
        tokenizer: Any,
        vocabulary: Vocabulary,
        max_tokens: int,
        *,
        lowercase: bool,
        adds_special: bool,
    ) -> None:
        self._tokenizer, self.vocabulary, self.max_tokens = tokenizer, vocabulary, max_tokens
        self._lowercase, self._adds_special = lowercase, adds_special

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Encode texts to ids, int64 (B, L), and the mask of the tokens, bool (B, L)."""
        rows = [self._encode(text, self.max_tokens) for text in texts]
        longest = max(map(len, rows))
        # As short as the batch allows; the encoder's cost grows with the padding too.
        ids_BL = torch.full((len(rows), longest), self.vocabulary.pad_id)
        for ids_L, row in zip(ids_BL, rows, strict=True):
            ids_L[: len(row)] = torch.tensor(row)
        lengths_B1 = torch.tensor([[len(row)] for row in rows])
        return ids_BL, torch.arange(longest) < lengths_B1

    def count_cut(self, texts: Sequence[str]) -> int:
        """Count the texts that are cut because they have more than `max_tokens` tokens."""
        return sum(len(self._encode(text, None)) > self.max_tokens for text in texts)

    def save(self, folder: Path) -> None:
        """Save the tokenizer to a folder."""
        self._tokenizer.save_pretrained(str(folder))

    def _encode(self, text: str, max_tokens: int | None) -> list[int]:
        """Encode a text with its special tokens, cut to `max_tokens` if that is given."""
        text = text.lower() if self._lowercase else text
        if self._adds_special:
            # `verbose`: transformers would warn of texts that are too long.
            return list(
                self._tokenizer.encode(
                    text,
                    add_special_tokens=True,
                    truncation=max_tokens is not None,
                    max_length=max_tokens,
                    verbose=False,
                )
            )
        ids = list(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))
        # The end of the sentence stays, on which pooling of the last token relies.
        kept = ids if max_tokens is None else ids[: max_tokens - 2]
        return [self.vocabulary.bos_id, *kept, self.vocabulary.eos_id]


def build_caption_tokenizer(
    config: TokenizerConfig,
    records: Sequence[ClipRecord],
    pretrained_name: str | None,
    revision: str | None,
    max_tokens: int,
) -> CaptionTokenizer:
    """Build the tokenizer of a text tower: load the one of its model, or train one on all texts.

    Args:
        config: Section `objective.text.tokenizer`.
        records: Clips of the training split.
        pretrained_name: Folder or hub id of the text encoder; None if it has random weights.
        revision: Revision of the hub id; None for the latest.
        max_tokens: Longest text in tokens, with special tokens.

    Raises:
        InputError: If there are no texts to train on, or the tokenizer cannot be loaded.
    """
    # A tokenizer of our own has no template of special tokens, so they are added here.
    if config.kind != "pretrained":
        built = build_tokenizer(config, records, None, use_all_references=True)
        return CaptionTokenizer(
            built.tokenizer,
            built.vocabulary,
            max_tokens,
            lowercase=config.lowercase,
            adds_special=False,
        )
    if pretrained_name is None:
        raise InputError("tokenizer `pretrained` needs `objective.text.pretrained`")
    tokenizer = load_pretrained_tokenizer(pretrained_name, config.new_tokens, (), revision)
    # Ids can have gaps. Encoders are not asked for the ids of a sentence's ends, only for padding.
    size, pad_id = max(tokenizer.get_vocab().values()) + 1, tokenizer.pad_token_id or 0
    vocabulary = Vocabulary(size, pad_id, bos_id=pad_id, eos_id=pad_id)
    return CaptionTokenizer(
        tokenizer, vocabulary, max_tokens, lowercase=config.lowercase, adds_special=True
    )


def check_captions(records: Sequence[ClipRecord], split: str) -> None:
    """Check that every clip has a text.

    Args:
        records: Records of the split that are used.
        split: Name of the split, for the error.

    Raises:
        InputError: If clips have none; names one of them.
    """
    silent = [record.clip.id for record in records if not any(record.clip.texts)]
    if silent:
        raise InputError(
            f"{len(silent)} of {len(records)} clips in `{split}` have no text, for example"
            f" `{silent[0]}`, but `objective.kind: clip` compares clips with their texts. Remove"
            " these clips from the corpus, or pretrain with `objective.kind: mae`, which needs no"
            " texts."
        )
