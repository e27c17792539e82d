"""Fonts for images: select the first installed font that contains all characters of a text.

DejaVu Sans comes with matplotlib and covers Latin, Greek, Cyrillic, Arabic and Hebrew; Chinese and
other scripts need an installed font. Without one, characters are drawn as boxes, and
`find_missing_characters` returns them so that the caller can report them.
"""

from functools import cache, lru_cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

_DEFAULT_FONT = "DejaVu Sans"
# Contains a box for every character, so it would always match.
_LAST_RESORT_FONT = "Last Resort"


def load_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that contains all characters of a text, or DejaVu Sans if there is none.

    Args:
        text: Text to draw.
        size: Height in pixels.
    """
    return _load_font_file(_find_font_path(frozenset(text)) or _list_font_paths()[0], size)


def find_missing_characters(text: str) -> str:
    """Return the characters that no single installed font can draw with the rest of the text."""
    if _find_font_path(frozenset(text)) is not None:
        return ""
    return "".join(
        sorted(
            c for c in set(text) if not c.isspace() and not _has_character(_list_font_paths()[0], c)
        )
    )


@cache
def _load_font_file(path: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font file at a height in pixels."""
    return ImageFont.truetype(path, size)


# A font depends on the set of characters only, and reading the fonts' tables takes much longer than
# this look-up, so the results are cached; a long-running process must not keep all texts forever.
@lru_cache(maxsize=4096)
def _find_font_path(characters: frozenset[str]) -> str | None:
    """Return the first font that contains all characters, or None."""
    visible_characters = [sign for sign in characters if not sign.isspace()]
    return next(
        (
            p
            for p in _list_font_paths()
            if all(_has_character(p, sign) for sign in visible_characters)
        ),
        None,
    )


def _has_character(path: str, character: str) -> bool:
    """Return whether a font file contains a character."""
    return ord(character) in _read_code_points(path)


@cache
def _read_code_points(path: str) -> frozenset[int]:
    """Return the code points that a font contains."""
    return frozenset(FT2Font(path).get_charmap())


@cache
def _list_font_paths() -> tuple[str, ...]:
    """Return the paths of the installed fonts, DejaVu Sans first and then all others by path."""
    default_path = font_manager.findfont(_DEFAULT_FONT)
    fonts = font_manager.fontManager.ttflist
    # Sorted, so that the choice does not depend on the order in which matplotlib found the fonts.
    others = {
        e.fname for e in fonts if e.style == "normal" and not e.name.startswith(_LAST_RESORT_FONT)
    }
    return (default_path, *sorted(others - {default_path}))
