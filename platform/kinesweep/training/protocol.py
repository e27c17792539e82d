"""What is done to texts before they are scored, alike for hypotheses and references.

Two systems' scores are comparable only under one protocol: lower case, a full stop less or another
tokenizer move BLEU by more than most improvements. So its name, or its parts, stand first in every
signature.
"""

import re
import unicodedata

from kinesweep.core.recipe.evaluation import PROTOCOLS, Protocol

_FINAL_PERIOD = re.compile(r"\s*[.。．।]\s*$")


def treat(text: str, protocol: Protocol) -> str:
    """A text as it is scored; tokenising is the metric's."""
    if protocol.case == "lower":
        text = text.lower()
    if protocol.final_period == "drop":
        text = _FINAL_PERIOD.sub("", text)
    if protocol.punctuation == "drop":
        bare = "".join(" " if unicodedata.category(c).startswith("P") else c for c in text)
        text = " ".join(bare.split())
    return text


def name_of(protocol: Protocol) -> str:
    """Its name, or the parts that differ from `raw`."""
    for name, known in PROTOCOLS.items():
        if known == protocol:
            return name
    own = protocol.model_dump(exclude_defaults=True)
    return ",".join(f"{part}={value}" for part, value in own.items())
