"""Text normalization before scoring, the same for hypotheses and references.

Scores of two systems are comparable only under the same protocol: lower-casing, removing a full
stop or another tokenizer change BLEU by more than most improvements do. The name of the protocol,
or its settings, therefore comes first in every signature.

Whatever the protocol, forms of the same character are unified first: equal words must not differ
because one of them was typed or copied differently. Unknown tokens in a hypothesis match nothing,
not even the same characters in a reference.
"""

import re
import unicodedata

from kinesweep.config.recipe.evaluation import SCORING_PROTOCOLS, ScoringProtocol

# Full stops of Latin, Chinese and Japanese (full and half width) and Devanagari script.
_FINAL_PERIOD = re.compile(r"\s*[.。．।]\s*$")
# Characters that only present others: Hebrew and Arabic presentation forms, Latin ligatures, half
# and full width, Kangxi radicals. NFC leaves them as they are.
_PRESENTATION_FORMS = re.compile(
    "[\ufb00-\ufdcf\ufdf0-\ufdff\ufe70-\ufefe\uff01-\uffee\u2f00-\u2fd5]"
)
# Marks without width that tell a layout engine how to break lines or order text. The joiners U+200C
# and U+200D are kept, because they distinguish words in Persian and Hindi. Noncharacters are
# removed, because one of them stands for unknown tokens.
_INVISIBLE = re.compile(
    "[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufdd0-\ufdef]"
)
_SPACES = re.compile(r"[^\S \n]")
# Thai and Lao write `am` as one character; typed as two, a tone mark may stand between them.
_THAI_AM = re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32")
_LAO_AM = re.compile("\u0ecd([\u0ec8-\u0ecb]?)\u0eb2")
# Unknown tokens of Hugging Face, BERT and SentencePiece, and bytes that are not a character.
_UNKNOWN = re.compile(r"<unk>|\[unk\]|⁇|\ufffd", re.IGNORECASE)
# Noncharacters are reserved for internal use, so no reference contains this one.
_UNKNOWN_MARK = "\ufdd0"


def unify_forms(text: str) -> str:
    """Return a text with one form for each character, so that equal texts are equal strings.

    Canonical composition (NFC); presentation forms and width variants become ordinary characters;
    every kind of space becomes a space, and invisible formatting marks are removed. Case, vowel
    points and punctuation stay. A text in NFC without such characters is not changed.
    """
    if text.isascii():
        return _SPACES.sub(" ", text)
    text = _PRESENTATION_FORMS.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    text = _LAO_AM.sub("\\1\u0eb3", _THAI_AM.sub("\\1\u0e33", text))
    return _SPACES.sub(" ", text)


def normalize_text(text: str, protocol: ScoringProtocol) -> str:
    """Unify the forms of a text, then apply a protocol's changes of case, period and punctuation.

    The text is not tokenized; each metric does that itself.
    """
    return _apply_protocol(unify_forms(text), protocol)


def normalize_hypothesis(text: str, protocol: ScoringProtocol) -> str:
    """Normalize a hypothesis like a reference, with unknown tokens as a mark that never matches."""
    return _apply_protocol(_UNKNOWN.sub(_UNKNOWN_MARK, unify_forms(text)), protocol)


def _apply_protocol(text: str, protocol: ScoringProtocol) -> str:
    """Apply a protocol's changes of case, final period and punctuation to a text."""
    if protocol.case == "lower":
        text = text.lower()
    if protocol.final_period == "drop":
        text = _FINAL_PERIOD.sub("", text)
    if protocol.punctuation == "drop":
        # Punctuation becomes a space, so that words around a dash or slash are not joined.
        without_punctuation = "".join(
            " " if unicodedata.category(c).startswith("P") else c for c in text
        )
        text = " ".join(without_punctuation.split())
    return text


def format_protocol(protocol: ScoringProtocol) -> str:
    """Return a protocol's name, or its settings that differ from `raw` if it has no name.

    `13a` is what `auto` chooses for scripts with spaces, so it is not named.
    """
    if protocol.tokenize == "13a":
        protocol = protocol.model_copy(update={"tokenize": "auto"})
    for name, preset in SCORING_PROTOCOLS.items():
        if preset == protocol:
            return name
    changed_settings = protocol.model_dump(exclude_defaults=True)
    return ",".join(f"{name}={value}" for name, value in changed_settings.items())


def describe_protocol(protocol: ScoringProtocol) -> str:
    """Describe a resolved protocol for people: `protocol raw, words by the tokenizer 13a`."""
    return f"protocol {format_protocol(protocol)}, words by the tokenizer {protocol.tokenize}"
