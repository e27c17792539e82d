"""Words of caption metrics, as the packages split texts.

nlg-eval splits at spaces, so case and punctuation count. coco-caption runs Stanford's tokenizer in
Java. Its rules for English sentences are followed by nltk's tokenizer for the Penn Treebank, with
full stops inside a text split too.
"""

import re
import string
from collections.abc import Callable
from functools import cache
from typing import Any

_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
# A full stop after a word of several letters ends a sentence; `e.g.` and `A.` keep theirs.
_SENTENCE_END = re.compile(r"(?<=[^\W\d_]{2})\.(?=\s|$)|(?<=\d)\.(?=\s|$)")
_ABBREVIATIONS = re.compile(r"\b(?:mr|mrs|ms|dr|st|vs|etc|prof|jr|sr)$", re.IGNORECASE)
# Brackets become `-lrb-` and the like there, which the package does not remove.
_COCO_PUNCTUATION = frozenset("'' ' `` ` . ? ! , : - -- ... ;".split())  # noqa: SIM905


def select_coco_split(package: str) -> Callable[[str], list[str]] | None:
    """Return the function that splits texts for the rules of coco-caption.

    Args:
        package: Package whose words are wanted.

    Returns:
        A function that splits a text into words; None for a package with rules of its own.
    """
    if package == "coco_caption":
        return split_treebank
    return str.split if package == "nlg_eval" else None


def split_without_punctuation(text: str) -> list[str]:
    """Split a text into lower-cased words; ASCII punctuation becomes spaces (BLEU of NLG)."""
    return _PUNCTUATION.sub(" ", text).lower().split()


def split_alphanumeric(text: str) -> list[str]:
    """Split a text into lower-cased runs of a to z and 0 to 9 (package rouge_score)."""
    return _NOT_ALPHANUMERIC.sub(" ", text.lower()).split()


def split_treebank(text: str) -> list[str]:
    """Split a text into lower-cased words of the Penn Treebank without punctuation (COCO)."""
    spaced = _SENTENCE_END.sub(
        lambda match: "." if _ABBREVIATIONS.search(text[: match.start()]) else " . ", text
    )
    # Stanford's tokenizer writes typographic characters in ASCII.
    spaced = spaced.replace("’", "'").replace("—", " -- ").replace("–", " -- ")
    words = _get_treebank_tokenizer().tokenize(spaced, convert_parentheses=True)
    return [word.lower() for word in words if word not in _COCO_PUNCTUATION]


@cache
def _get_treebank_tokenizer() -> Any:
    """Return nltk's tokenizer, which needs no data."""
    # Imported here because nltk takes half a second.
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()
