"""Tokens of SignWriting in Formal SignWriting in ASCII (FSW).

A sign is one word of FSW, such as `M518x529S14c20481x471S27106503x489`: a box with its size, and
symbols with their positions. As one word it matches only if every coordinate is equal, and a text
of one sign has no 4-grams. Here each box, symbol and position is a token, so that a sign with a
wrong hand shape is partly right. The grammar is that of Formal SignWriting (Slevinski,
draft-slevinski-formal-signwriting, section 2).
"""

import re

_SYMBOL = r"S[0-9a-f]{3}[0-5][0-9a-f]"
_POSITION = r"[0-9]{3}x[0-9]{3}"
# An optional temporal prefix, a box with its symbols, or a punctuation mark; then an optional style
# string, which holds colors and sizes.
_WORD = re.compile(
    rf"(?:(?:A(?:{_SYMBOL})+)?[BLMR]{_POSITION}(?:{_SYMBOL}{_POSITION})*|{_SYMBOL}{_POSITION})"
    r"(?:-[\w,.#()\[\]-]*)?"
)
_TOKEN = re.compile(rf"{_SYMBOL}|{_POSITION}|[ABLMR]|-.*")


def is_fsw_word(word: str) -> bool:
    """Return whether a word is a sign or a punctuation mark in FSW."""
    return _WORD.fullmatch(word) is not None


class FswTokenizer:
    """A tokenizer with sacreBLEU's interface that splits signs in FSW into their parts.

    Words that are not in FSW are kept whole.
    """

    def __call__(self, line: str) -> str:
        """Return the tokens of a text, separated by spaces."""
        tokens: list[str] = []
        for word in line.split():
            tokens += _TOKEN.findall(word) if is_fsw_word(word) else [word]
        return " ".join(tokens)

    def signature(self) -> str:
        """Return the name of the tokenizer for signatures."""
        return "fsw"
