"""Cleaning of caption texts: markup, entities, marks and invisible characters.

The order matters. Tags go before entities, so that `&lt;3` stays a heart; tags that were themselves
written as entities (`&lt;i&gt;`) go after them; marks go last, because `&gt;&gt;` is a mark too.
"""

import html
import re
from collections import Counter

from kinesweep.sources.prepare.captions.sound_marks import remove_marks

# Readings above characters (`<ruby>漢<rt>kan</rt>`) are said once, as the characters.
_RUBY_PATTERN = re.compile(r"<rt\b[^<>]*>.*?(?:</rt>|(?=</ruby>)|\Z)", re.DOTALL)
_TAG_PATTERN = re.compile(r"</?[A-Za-z][^<>]*>|<(?:[0-9]+:)?[0-9]+:[0-9]+[.,][0-9]+>")
_ESCAPED_TAG_PATTERN = re.compile(
    r"</?(?:b|i|u|s|c|v|em|strong|font|span|br)(?:[\s./][^<>]*)?>", re.IGNORECASE
)
_OVERRIDE_PATTERN = re.compile(r"\{\\[^{}]*\}|\{[yYcCfFsSpP]:[^{}]*\}")  # ASS; MicroDVD
_ESCAPED_SPACE_PATTERN = re.compile(r"\\[hN]|\\n(?![a-z])")
# With a semicolon only: `AT&T` and `R&D` are no entities, although browsers read `&copy` as one.
_ENTITY_PATTERN = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Marks of direction and invisible spaces. Joiners (U+200C, U+200D) stay: they change the word in
# Persian and Hindi.
_INVISIBLE_PATTERN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_CONTROL_PATTERN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean_caption_text(text: str) -> tuple[str, Counter[str]]:
    """Return the spoken text of a caption, and the number of removed marks by kind.

    The text is empty if the caption contains no letter and no digit outside of its marks.

    Args:
        text: Text with markup; line feeds separate its lines.
    """
    text = _TAG_PATTERN.sub("", _RUBY_PATTERN.sub("", text))
    text = _ESCAPED_SPACE_PATTERN.sub(" ", _OVERRIDE_PATTERN.sub("", text))
    # Twice, because YouTube escapes its XML twice: `&amp;#39;`.
    text = _resolve_entities(_resolve_entities(text))
    text = _INVISIBLE_PATTERN.sub("", _ESCAPED_TAG_PATTERN.sub("", text))
    text, counts = remove_marks(_CONTROL_PATTERN.sub(" ", text))
    text = " ".join(text.split())
    has_words = any(character.isalnum() for character in text)
    return text if has_words else "", counts


def _resolve_entities(text: str) -> str:
    """Return a text with its entities replaced by their characters; unknown ones stay."""
    return _ENTITY_PATTERN.sub(lambda match: html.unescape(match.group()), text)
