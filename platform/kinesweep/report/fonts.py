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
    """Load a font that contains all characters of a text, or DejaVu Sans if no font does.

    Args:
        text: Text to draw.
        size: Height of the font in pixels.
    """
    return _load_font_file(_find_font_path(frozenset(text)) or _list_font_paths()[0], size)


def find_missing_characters(text: str) -> str:
    """Return the characters of a text that `load_font` cannot draw, each once and sorted.

    They are the characters that DejaVu Sans lacks; none if another font contains the whole text.
    """
    if _find_font_path(frozenset(text)) is not None:
        return ""
    default_path = _list_font_paths()[0]
    missing = [
        character
        for character in set(text)
        if not character.isspace() and not _has_character(default_path, character)
    ]
    return "".join(sorted(missing))


@cache
def _load_font_file(path: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font file with a height in pixels; cached."""
    return ImageFont.truetype(path, size)


# A font depends on the set of characters only, and reading the fonts' tables takes much longer than
# this look-up, so the results are cached; a long-running process must not keep all texts forever.
@lru_cache(maxsize=4096)
def _find_font_path(characters: frozenset[str]) -> str | None:
    """Return the path of the first font with all characters but spaces; None if there is none."""
    visible_characters = [character for character in characters if not character.isspace()]
    for path in _list_font_paths():
        if all(_has_character(path, character) for character in visible_characters):
            return path
    return None


def _has_character(path: str, character: str) -> bool:
    """Return whether a font file contains a character."""
    return ord(character) in _read_code_points(path)


@cache
def _read_code_points(path: str) -> frozenset[int]:
    """Return the Unicode code points that a font file contains; cached."""
    return frozenset(FT2Font(path).get_charmap())


@cache
def _list_font_paths() -> tuple[str, ...]:
    """Return the paths of the installed fonts, DejaVu Sans first and then all others by path."""
    default_path = font_manager.findfont(_DEFAULT_FONT)
    fonts = font_manager.fontManager.ttflist
    # Sorted, so that the choice does not depend on the order in which matplotlib found the fonts.
    other_paths = {
        font.fname
        for font in fonts
        if font.style == "normal" and not font.name.startswith(_LAST_RESORT_FONT)
    }
    return (default_path, *sorted(other_paths - {default_path}))
