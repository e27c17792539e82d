"""Formal SignWriting in ASCII (FSW): signs, their normal form, and tokens with fixed ids.

A sign is a box (`M518x529`) with symbols and their positions (`S14c20481x471`); before it may stand
the order of its symbols (`AS14c20…`), after it a style (`-C…`), which both are left out here. A
symbol without a box, such as a punctuation mark, gets the box `M500x500`. The grammar is that of
draft-slevinski-formal-signwriting, section 2. The tokens and their ids are those of the package
`signwriting` 0.1 (`SignWritingTokenizer`), so that models trained with it keep their embeddings.
"""

import re
from dataclasses import dataclass
from functools import cache

from kinesweep.core.errors import ClipError

_SYMBOL = r"S[123][0-9a-f]{2}[0-5][0-9a-f]"
_POSITION = r"\d{3}x\d{3}"
_PLACED_SYMBOL = re.compile(rf"({_SYMBOL})(\d{{3}})x(\d{{3}})", re.ASCII)
# Signs may follow each other without a space, as in some corpora.
_SIGN = re.compile(
    rf"(?:A(?:{_SYMBOL})+)?(?P<box>[BLMR])(?P<x>\d{{3}})x(?P<y>\d{{3}})"
    rf"(?P<symbols>(?:{_SYMBOL}{_POSITION})*)(?:-[\w,.#()\[\]-]*)?"
    rf"|(?P<bare>(?:{_SYMBOL}{_POSITION})+)(?:-[\w,.#()\[\]-]*)?",
    re.ASCII,
)
# Coordinates of the grammar, with the center at 500.
_MIN_POSITION, _MAX_POSITION = 250, 749
_DEFAULT_BOX = ("M", (500, 500))
_SPECIAL_TOKENS = ("[UNK]", "[PAD]", "[CLS]", "[SEP]")
# The International SignWriting Alphabet 2010 has 652 base symbols, S100 to S38b.
_LAST_BASE_SYMBOL = 0x38B
_MAX_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class FswSign:
    """A sign: a box and its symbols.

    Attributes:
        box: Lane of the sign: `B`, `L`, `M` or `R`.
        corner: Position (x, y) of the lower right corner of the box.
        symbols: Pairs of a symbol, such as `S14c20`, and its position (x, y).
    """

    box: str
    corner: tuple[int, int]
    symbols: tuple[tuple[str, tuple[int, int]], ...]

    @property
    def text(self) -> str:
        """Return the sign in FSW, without the order of its symbols and without a style."""
        symbols = "".join(f"{symbol}{x:03}x{y:03}" for symbol, (x, y) in self.symbols)
        return f"{self.box}{self.corner[0]:03}x{self.corner[1]:03}{symbols}"


def parse_fsw(text: str) -> list[FswSign]:
    """Parse a text in FSW into its signs.

    Args:
        text: Signs, separated by spaces or not at all.

    Raises:
        ClipError: With reason `invalid_fsw`, if the text has anything but signs, or no symbol. The
            message shows where the first unknown part begins.
    """
    signs: list[FswSign] = []
    # Scanned from left to right, so that the message shows the first part that is wrong.
    position, end = 0, len(text.rstrip())
    while position < end:
        if text[position].isspace():
            position += 1
            continue
        match = _SIGN.match(text, position)
        if match is None:
            shown = text[position : position + _MAX_SHOWN_CHARACTERS]
            raise ClipError(
                f"`{shown}` at character {position + 1} is not a sign in Formal SignWriting; a sign"
                " is for example `M518x529S14c20481x471S27106503x489`",
                "invalid_fsw",
            )
        signs.append(_build_sign(match))
        position = match.end()
    # Boxes alone are well formed, but there is nothing to translate.
    if not any(sign.symbols for sign in signs):
        raise ClipError("the text has no SignWriting symbol", "invalid_fsw")
    return signs


def _build_sign(match: re.Match[str]) -> FswSign:
    """Build a sign from a match of its grammar.

    Raises:
        ClipError: With reason `invalid_fsw`, if a symbol does not exist or is out of range.
    """
    # Punctuation stands without a box; the package places it in the middle.
    box, corner = _DEFAULT_BOX
    if match["box"]:
        box, corner = match["box"], (int(match["x"]), int(match["y"]))
    placed = _PLACED_SYMBOL.findall(match["symbols"] or match["bare"] or "")
    symbols = tuple((symbol, (int(x), int(y))) for symbol, x, y in placed)
    for symbol, positions in symbols:
        if not _MIN_POSITION <= min(positions) <= max(positions) <= _MAX_POSITION:
            raise ClipError(
                f"the symbol `{symbol}` is at {positions[0]}x{positions[1]}; positions are"
                f" {_MIN_POSITION} to {_MAX_POSITION}",
                "invalid_fsw",
            )
        if int(symbol[1:4], 16) > _LAST_BASE_SYMBOL:
            raise ClipError(f"there is no symbol `{symbol}`", "invalid_fsw")
    return FswSign(box, corner, symbols)


@cache
def get_fsw_tokens() -> tuple[str, ...]:
    """Return the tokens of FSW in the order of their ids.

    They are special tokens, boxes, base symbols, rotations, fills, and coordinates.
    """
    bases = (f"S{number:x}" for number in range(0x100, _LAST_BASE_SYMBOL + 1))
    rotations = (f"r{number:x}" for number in range(16))
    fills = (f"c{number}" for number in range(6))
    coordinates = (f"p{number}" for number in range(_MIN_POSITION, _MAX_POSITION + 1))
    return (*_SPECIAL_TOKENS, *"BLMR", *bases, *rotations, *fills, *coordinates)


def tokenize_fsw(text: str) -> list[str]:
    """Split a text in FSW into tokens.

    A sign becomes its box, which is always placed at 500 × 500, and five tokens for each symbol:
    base symbol, fill, rotation, x and y.

    Raises:
        ClipError: With reason `invalid_fsw`.
    """
    tokens: list[str] = []
    for sign in parse_fsw(text):
        # The corner follows from the symbols, so it is not a token of its own.
        tokens += [sign.box, "p500", "p500"]
        for symbol, (x, y) in sign.symbols:
            tokens += [symbol[:4], f"c{symbol[4]}", f"r{symbol[5]}", f"p{x}", f"p{y}"]
    return tokens
