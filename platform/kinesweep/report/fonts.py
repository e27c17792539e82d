"""Fonts for pictures: the first one of this system that has all characters of a text.

DejaVu Sans comes with matplotlib and has Latin, Greek, Cyrillic, Arabic and Hebrew; Chinese and
others need a font that is installed. Where there is none, characters become boxes, and `missing`
names them, so that whoever draws can say so.
"""

from functools import cache, lru_cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

_OWN = "DejaVu Sans"
_LAST = "Last Resort"
"""Has a box for every character there is."""


def font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The font to write a text in, so many pixels high."""
    return _face(_path(frozenset(text)) or _paths()[0], size)


def missing(text: str) -> str:
    """Characters for which no single font is there; empty where one has them all."""
    if _path(frozenset(text)) is not None:
        return ""
    return "".join(sorted(c for c in set(text) if not c.isspace() and not _has(_paths()[0], c)))


@cache
def _face(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=4096)
def _path(signs: frozenset[str]) -> str | None:
    wanted = [sign for sign in signs if not sign.isspace()]
    return next((p for p in _paths() if all(_has(p, sign) for sign in wanted)), None)


def _has(path: str, sign: str) -> bool:
    return ord(sign) in _signs(path)


@cache
def _signs(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


@cache
def _paths() -> tuple[str, ...]:
    """DejaVu Sans, then all others by name."""
    own = font_manager.findfont(_OWN)
    known = font_manager.fontManager.ttflist
    others = {e.fname for e in known if e.style == "normal" and not e.name.startswith(_LAST)}
    return (own, *sorted(others - {own}))
