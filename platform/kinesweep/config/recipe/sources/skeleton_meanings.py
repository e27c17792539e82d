"""Meanings that the columns of skeleton tables can have.

A column is named after its meaning, or mapped to it by `source.columns`. There may be several
columns of texts and of augmented texts, which are numbered: `text1`, `ref2`, `augmented3`.
"""

import re

COLUMN_MEANINGS = (
    *("id", "index", "motion", "start", "end", "reference", "reference_start", "reference_end"),
    *("signer", "document", "order", "gloss", "language"),
)
"""Meanings that a column can have, besides texts."""
TEXT_MEANINGS = ("output", "text", "ref")
AUGMENTED_MEANING = "augmented"
"""Meaning of texts that only training reads, such as rephrasings of the references."""
KNOWN_MEANINGS = (*COLUMN_MEANINGS, *TEXT_MEANINGS, AUGMENTED_MEANING)
"""All meanings, with those that may be numbered in their unnumbered form."""
# `output` is a single text in all formats that use it, so it has no number.
_TEXT_MEANING_PATTERN = re.compile(r"output|(?:text|ref)\d*")
_AUGMENTED_MEANING_PATTERN = re.compile(rf"{AUGMENTED_MEANING}\d*")


def is_text_meaning(meaning: str) -> bool:
    """Return whether a column meaning stands for a text: `output`, `text`, `text1`, `ref2` …."""
    return _TEXT_MEANING_PATTERN.fullmatch(meaning) is not None


def is_augmented_meaning(meaning: str) -> bool:
    """Return whether a column meaning stands for an augmented text: `augmented`, `augmented1` …."""
    return _AUGMENTED_MEANING_PATTERN.fullmatch(meaning) is not None


def is_known_meaning(meaning: str) -> bool:
    """Return whether a column can have a meaning."""
    return meaning in COLUMN_MEANINGS or is_text_meaning(meaning) or is_augmented_meaning(meaning)
