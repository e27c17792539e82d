"""Scores of sentences that occur in train, and of those that do not, apart.

A sentence that was read in training can be recited instead of translated. In corpora of weather
news or instructions many are; a score over both says less than the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kinesweep.core.recipe.evaluation import EvaluationConfig
from kinesweep.store.reader import Store
from kinesweep.training.predictions import Prediction
from kinesweep.training.scoring import score

_WORDS = {True: "that occur in train", False: "that do not occur in train"}


@dataclass(frozen=True)
class Part:
    """Some clips of a split.

    Attributes:
        what: `sentences that occur in train`, or the others.
        clips: how many.
        scores: metric → score of these alone.
    """

    what: str
    clips: int
    scores: dict[str, float]


def train_sentences(store: Store) -> set[str]:
    """Every text of train."""
    return {text for record in store.records("train") for text in record.clip.texts}


def apart(
    predictions: Sequence[Prediction], seen: set[str], config: EvaluationConfig
) -> list[Part]:
    """Both parts, those in train first; a part without clips is left out.

    Args:
        predictions: with their references.
        seen: `train_sentences`.
        config: metrics and protocol.
    """
    parts = []
    for known, words in _WORDS.items():
        own = [p for p in predictions if any(text in seen for text in p.references) is known]
        if own:
            said = {line.clip_id: line.hypothesis for line in own}
            wanted = {line.clip_id: line.references for line in own}
            scores = score(said, wanted, config.metrics, config.treatment, config.wordnet)
            parts.append(Part(f"sentences {words}", len(own), scores.values))
    return parts
