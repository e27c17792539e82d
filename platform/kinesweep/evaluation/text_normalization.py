"""Text normalization before scoring, the same for hypotheses and references.

Scores of two systems are comparable only under the same protocol: lower-casing, removing a full
stop or another tokenizer change BLEU by more than most improvements do. The name of the protocol,
or its settings, therefore comes first in every signature.
"""

import re
import unicodedata

from kinesweep.config.recipe.evaluation import PROTOCOLS, ScoringProtocol

# Full stops of Latin, Chinese and Japanese (full and half width) and Devanagari script.
_FINAL_PERIOD = re.compile(r"\s*[.。．।]\s*$")


def normalize(text: str, protocol: ScoringProtocol) -> str:
    """Normalize a text under a protocol; the metric itself tokenizes it."""
    if protocol.case == "lower":
        text = text.lower()
    if protocol.final_period == "drop":
        text = _FINAL_PERIOD.sub("", text)
    if protocol.punctuation == "drop":
        # Punctuation becomes a space, so that words around a dash or slash are not joined.
        bare = "".join(" " if unicodedata.category(c).startswith("P") else c for c in text)
        text = " ".join(bare.split())
    return text


def protocol_name(protocol: ScoringProtocol) -> str:
    """Return the name of a protocol, or its settings that differ from `raw`."""
    for name, known in PROTOCOLS.items():
        if known == protocol:
            return name
    own = protocol.model_dump(exclude_defaults=True)
    return ",".join(f"{part}={value}" for part, value in own.items())
