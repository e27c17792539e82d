"""Removal of marks for music, sounds and speakers from the text of a caption.

The rule, which is the same for all languages:

- Text in square brackets (`[Music]`, `[Musik]`, `【拍手】`, `[ __ ]`) describes; nobody says it.
- Text from a note (`♪`) to the next note, to a line that begins with a note or to the end of the
  caption is sung; so is a line between `# ` and ` #`. A note at the end of a text is a mark alone.
- Text in parentheses or asterisks describes if it is the whole caption or contains a word for a
  sound within at most four words. Other parentheses stay; of other asterisks the text stays.
- `>>`, a dash before the first word of a line, and a name before a colon (in capitals, or a role
  such as `Speaker 1:`) mark the speaker. A name in lower-case letters stays: it may be a sentence.
"""

import re
from collections import Counter

_MARK = "\x00"
"""Stands for a removed mark until all are removed; the texts contain no control characters."""
_EDGES = f" \t\n.,!?…-–—:{_MARK}"
"""Characters around a mark that do not make a text."""
_NOTE = "[♩♪♫♬🎵🎶🎼]"
_SONG_PATTERN = re.compile(
    rf"{_NOTE}[{_NOTE[1:-1]}\s]*(?P<text>[^{_NOTE[1:-1]}]*?)(?:{_NOTE}+|\Z|(?=\n\s*{_NOTE}))"
)
_HASH_SONG_PATTERN = re.compile(r"^[ \t]*#(?: .*)? #[ \t]*$", re.MULTILINE)
_BRACKET_PATTERN = re.compile(
    r"[\[［【〔](?P<text>[^\[\]［］【】〔〕]*)[\]］】〕]"
    r"|[\[［【〔](?P<opened>[^\[\]［］【】〔〕]*)\Z"  # closed in the next caption
    r"|\A(?P<closed>[^\[\]［］【】〔〕]{0,60})[\]］】〕]"  # opened in the caption before
)
_PARENTHESES_PATTERN = re.compile(
    # Asterisks between letters or digits are signs of multiplication: `2*3*4`.
    r"[(（](?P<text>[^()（）]*)[)）]|(?<![*\w])\*{1,3}(?P<starred>[^*\n]+)\*{1,3}(?![*\w])"
)
_MUSIC_WORDS = (
    "music|musik|musique|música|musica|muziek|музык|muzyka|müzik|音楽|音乐|音樂|음악|موسيقى|संगीत"
    "|מוזיקה|song|singing|sings|singt"
)
_SOUND_WORDS = (
    "applau|clapping|laugh|chuckl|giggl|cheers|cheering|sighs?\\b|sighing|gasp|cough|sneez|groan"
    "|scream|shout|sobs|sobbing|crying|whisper|murmur|chatter|noise|silence|inaudible"
    "|unintelligible|indistinct|crosstalk|beep|buzz|ringing|rings|knock|bells?\\b|sounds?\\b"
    "|speaking|speaks|no audio|clears throat|sniff|whistl"
    "|beifall|gelächter|lacht|lachen|lachend|seufz|hustet|geräusch|unverständlich|stille|klatsch"
    "|rires?\\b|soupir|toux|bruit|aplauso|risas|risos|suspir|ruido|ruído|silencio|silêncio"
    "|risate|gelach|аплодисмент|смех|смеётся|oklaski|śmiech|alkış|拍手|笑|掌声|掌聲|박수|웃음|تصفيق|ضحك"
    "|तालियाँ|हँसी|צחוק|מחיאות"
)
# Words of European languages must begin with the sound word: `solid` is none, although in German
# `lachend` begins with one. Asian scripts have no spaces.
_MUSIC_PATTERN = re.compile(rf"(?<![a-zA-ZÀ-ž])(?:{_MUSIC_WORDS})", re.IGNORECASE)
_SOUND_PATTERN = re.compile(rf"(?<![a-zA-ZÀ-ž])(?:{_MUSIC_WORDS}|{_SOUND_WORDS})", re.IGNORECASE)
_MAX_SOUND_WORDS = 4
_ARROWS_PATTERN = re.compile(r"(?:>{2,}|»{2,}|＞{2,})[ \t]*")
_DASH_PATTERN = re.compile(
    rf"^[ \t{_MARK}]*[-‐‑–—]{{1,2}}(?:[ \t]+|(?=[^\W\d_]|[\"'“„¿¡(]))", re.MULTILINE
)
_SECOND_DASH_PATTERN = re.compile(r"(?<=[.!?…])[ \t]+[-–—][ \t]+(?=\w)")
_LABEL_PATTERN = re.compile(
    rf"^[ \t{_MARK}]*(?P<label>[^:\n{_MARK}]{{0,40}}):(?=\s|\Z)[ \t]*", re.MULTILINE
)
_ROLE_PATTERN = re.compile(
    r"(?:(?:fe)?male |off-?screen )?(?:speaker|sprecher|sprecherin|narrator|interpreter|presenter"
    r"|dolmetscher|dolmetscherin|moderator|moderatorin|host|man|woman|boy|girl|mann|frau|kind"
    r"|locutor|locutora|narrateur|narrador|voice-?over)(?: ?#?[0-9]{1,3})?",
    re.IGNORECASE,
)
_MAX_LABEL_WORDS = 4
_LABEL_CHARACTERS_PATTERN = re.compile(r"[\w .'’&#/-]+")
# Japanese captions name the speaker in wide parentheses before the text.
_WIDE_LABEL_PATTERN = re.compile(r"^[ \t]*（[^（）\n]*）(?=[ \t]*\S)", re.MULTILINE)


# One run of marks and spaces at a time, so that thousands of marks take linear time.
_GAP_PATTERN = re.compile(rf"[ \t{_MARK}]+(?P<point>[,.;])?")


class _MarkRemover:
    """The removal of the marks of one caption, which counts them by kind.

    Attributes:
        counts: Number of removed marks by kind: `music`, `sound` or `speaker`.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def remove_all(self, text: str) -> str:
        """Return a text without marks."""
        for pattern in (_HASH_SONG_PATTERN, _SONG_PATTERN):
            text = pattern.sub(lambda match: self._remove("music"), text)
        text = _BRACKET_PATTERN.sub(self._remove_described, text)
        text = _WIDE_LABEL_PATTERN.sub(lambda match: self._remove("speaker"), text)
        text = _PARENTHESES_PATTERN.sub(self._remove_parentheses, text)
        # After the sounds, because `[John]: Hi` and `- (laughs) JOHN: Hi` have one speaker each.
        for pattern in (_ARROWS_PATTERN, _DASH_PATTERN, _SECOND_DASH_PATTERN):
            text = pattern.sub(lambda match: self._remove("speaker"), text)
        return _close_gaps(_LABEL_PATTERN.sub(self._remove_label, text))

    def _remove(self, kind: str) -> str:
        """Count a mark, and return what stands for it until all marks are removed."""
        self.counts[kind] += 1
        return _MARK

    def _remove_described(self, match: re.Match[str]) -> str:
        """Replace a described sound, counted as music if the description names music."""
        described = next((group for group in match.groups() if group is not None), "")
        return self._remove("music" if _MUSIC_PATTERN.search(described) else "sound")

    def _remove_parentheses(self, match: re.Match[str]) -> str:
        """Replace parentheses or asterisks that describe a sound, and keep the text of others."""
        described = next(group for group in match.groups() if group is not None)
        rest = match.string[: match.start()] + match.string[match.end() :]
        is_short = len(described.split()) <= _MAX_SOUND_WORDS
        if not rest.strip(_EDGES) or (is_short and _SOUND_PATTERN.search(described)):
            return self._remove_described(match)
        return described if match["starred"] is not None else match.group()

    def _remove_label(self, match: re.Match[str]) -> str:
        """Replace a name before a colon if it is in capitals or a role, or if it was a mark."""
        label = match["label"].strip()
        if not label:  # `[John]: Hi`, whose name was removed as a mark
            return _MARK if _MARK in match.group() else match.group()
        is_name = (
            label == label.upper() != label.lower()
            and len(label.split()) <= _MAX_LABEL_WORDS
            and sum(character.isalpha() for character in label) >= 2
            and _LABEL_CHARACTERS_PATTERN.fullmatch(label) is not None
        )
        if is_name or _ROLE_PATTERN.fullmatch(label):
            return self._remove("speaker")
        return match.group()


def remove_marks(text: str) -> tuple[str, Counter[str]]:
    """Remove the marks of a caption, and return the text with the number of marks by kind.

    The kinds are `music`, `sound` and `speaker`.

    Args:
        text: Text without markup and control characters; line feeds separate its lines.
    """
    remover = _MarkRemover()
    return remover.remove_all(text), remover.counts


def _close_gaps(text: str) -> str:
    """Return a text without the signs of removed marks, and without spaces before its commas."""
    return _GAP_PATTERN.sub(
        lambda match: match["point"] or " " if _MARK in match.group() else match.group(), text
    )
