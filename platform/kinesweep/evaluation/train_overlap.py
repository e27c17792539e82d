"""Separate scores for sentences that occur in the training split and for those that do not.

A model can memorize a sentence that it saw in training instead of translating it. In corpora of
weather news or instructions many sentences repeat, so one score over all clips is less informative
than two. The score of each group is computed from the summed statistics of its clips. Whatever a
metric estimates on the whole split (such as CIDEr's document frequencies) is therefore the same for
both groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.evaluation.predictions import Prediction
from kinesweep.evaluation.scoring import Measure
from kinesweep.store.format.reader import Store

_WORDS = {True: "that occur in train", False: "that do not occur in train"}


@dataclass(frozen=True)
class Part:
    """The scores of one group of clips of a split.

    Attributes:
        what: Name of the group, such as `sentences that occur in train`.
        clips: Number of clips in the group.
        scores: Metric → score of these clips alone.
    """

    what: str
    clips: int
    scores: dict[str, float]


def train_sentences(store: Store) -> set[str]:
    """Return all reference texts of the training split."""
    return {text for record in store.records("train") for text in record.clip.texts}


def apart(
    predictions: Sequence[Prediction], seen: set[str], config: EvaluationConfig
) -> list[Part]:
    """Score the clips with and without a reference in train separately.

    Args:
        predictions: Predictions with their references.
        seen: Texts of the training split, from `train_sentences`.
        config: Metrics and scoring protocol.

    Returns:
        The two groups, sentences that occur in train first. A group without clips is omitted.
    """
    # `Measure.rows` returns its rows in the order of sorted ids; `known` below indexes those rows.
    lines = sorted(predictions, key=lambda line: line.clip_id)
    if not lines:
        return []
    said = {line.clip_id: line.hypothesis for line in lines}
    wanted = {line.clip_id: line.references for line in lines}
    measures = [Measure(name, config.protocol_config, config.wordnet) for name in config.metrics]
    # Compute the rows once on the whole split: the groups then share corpus-level estimates such as
    # CIDEr's document frequencies.
    rows = {measure.metric: measure.rows(said, wanted) for measure in measures}
    # One known reference is enough: reciting it already scores well.
    known = np.array([any(text in seen for text in line.references) for line in lines])
    parts = []
    for which, words in _WORDS.items():
        own = known == which
        if own.any():
            scores = {m.metric: m.of_sums(rows[m.metric][own].sum(0)) for m in measures}
            parts.append(Part(f"sentences {words}", int(own.sum()), scores))
    return parts
