"""Fonts for images: select the first installed font that contains all characters of a text.

DejaVu Sans comes with matplotlib and covers Latin, Greek, Cyrillic, Arabic and Hebrew; Chinese and
other scripts need an installed font. Without one, characters are drawn as boxes, and `missing`
returns them so that the caller can report them.
"""

from functools import cache, lru_cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

_OWN = "DejaVu Sans"
# Contains a box for every character, so it would always match.
_LAST = "Last Resort"


def load_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that contains all characters of a text, or DejaVu Sans if there is none.

    Args:
        text: Text to draw.
        size: Height in pixels.
    """
    return _face(_path(frozenset(text)) or _paths()[0], size)


def missing(text: str) -> str:
    """Return the characters that no single installed font can draw with the rest of the text."""
    if _path(frozenset(text)) is not None:
        return ""
    return "".join(sorted(c for c in set(text) if not c.isspace() and not _has(_paths()[0], c)))


@cache
def _face(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


# A font depends on the set of characters only, and reading the fonts' tables takes much longer than
# this look-up, so the results are cached; a long-running process must not keep all texts forever.
@lru_cache(maxsize=4096)
def _path(signs: frozenset[str]) -> str | None:
    """Return the first font that contains all characters, or None."""
    wanted = [sign for sign in signs if not sign.isspace()]
    return next((p for p in _paths() if all(_has(p, sign) for sign in wanted)), None)


def _has(path: str, sign: str) -> bool:
    return ord(sign) in _signs(path)


@cache
def _signs(path: str) -> frozenset[int]:
    """Return the code points that a font contains."""
    return frozenset(FT2Font(path).get_charmap())


@cache
def _paths() -> tuple[str, ...]:
    """Return the paths of the installed fonts, DejaVu Sans first and then all others by path."""
    own = font_manager.findfont(_OWN)
    known = font_manager.fontManager.ttflist
    # Sorted, so that the choice does not depend on the order in which matplotlib found the fonts.
    others = {e.fname for e in known if e.style == "normal" and not e.name.startswith(_LAST)}
    return (own, *sorted(others - {own}))
