"""Scores of sentences that occur in train, and of those that do not, apart.

A sentence that was read in training can be recited instead of translated. In corpora of weather
news or instructions many are; a score over both says less than the two. A part's score is that of
the sum of its clips' statistics, so what a metric learns of the split (how rare CIDEr's words are)
is the same for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinesweep.core.recipe.evaluation import EvaluationConfig
from kinesweep.store.reader import Store
from kinesweep.training.predictions import Prediction
from kinesweep.training.scoring import Measure

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
    lines = sorted(predictions, key=lambda line: line.clip_id)  # the order of rows
    if not lines:
        return []
    said = {line.clip_id: line.hypothesis for line in lines}
    wanted = {line.clip_id: line.references for line in lines}
    measures = [Measure(name, config.treatment, config.wordnet) for name in config.metrics]
    rows = {measure.metric: measure.rows(said, wanted) for measure in measures}
    known = np.array([any(text in seen for text in line.references) for line in lines])
    parts = []
    for which, words in _WORDS.items():
        own = known == which
        if own.any():
            scores = {m.metric: m.of_sums(rows[m.metric][own].sum(0)) for m in measures}
            parts.append(Part(f"sentences {words}", int(own.sum()), scores))
    return parts
