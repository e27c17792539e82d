"""Text normalization before scoring, the same for hypotheses and references.

Scores of two systems are comparable only under the same protocol: lower-casing, removing a full
stop or another tokenizer change BLEU by more than most improvements do. The name of the protocol,
or its settings, therefore comes first in every signature.
"""

import re
import unicodedata

from kinesweep.config.recipe.evaluation import SCORING_PROTOCOLS, ScoringProtocol

# Full stops of Latin, Chinese and Japanese (full and half width) and Devanagari script.
_FINAL_PERIOD = re.compile(r"\s*[.。．।]\s*$")


def normalize_text(text: str, protocol: ScoringProtocol) -> str:
    """Apply a protocol's changes of case, final period and punctuation to a text.

    The text is not tokenized; each metric does that itself.
    """
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
    """Return a protocol's name, or its settings that differ from `raw` if it has no name."""
    for name, preset in SCORING_PROTOCOLS.items():
        if preset == protocol:
            return name
    changed_settings = protocol.model_dump(exclude_defaults=True)
    return ",".join(f"{name}={value}" for name, value in changed_settings.items())
