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
from kinesweep.evaluation.scoring import CorpusMetric
from kinesweep.store.format.reader import Store

_GROUP_NAMES = {True: "that occur in train", False: "that do not occur in train"}


@dataclass(frozen=True)
class TrainOverlapScores:
    """The scores of the clips of a split whose sentences occur in train, or do not.

    Attributes:
        what: Name of the group, such as `sentences that occur in train`.
        clips: Number of clips in the group.
        scores: Metric → score of these clips alone.
    """

    what: str
    clips: int
    scores: dict[str, float]


def get_train_sentences(store: Store) -> set[str]:
    """Return the set of all reference texts of the training split."""
    return {text for record in store.get_records("train") for text in record.clip.texts}


def score_by_train_overlap(
    predictions: Sequence[Prediction], train_texts: set[str], config: EvaluationConfig
) -> list[TrainOverlapScores]:
    """Score the clips that have a reference in train and those that have none separately.

    Args:
        predictions: Predictions with their references.
        train_texts: Texts of the training split, from `get_train_sentences`.
        config: Metrics and scoring protocol.

    Returns:
        The two groups, sentences that occur in train first. A group without clips is omitted.
    """
    # `compute_clip_statistics` returns its rows in the order of sorted ids; `is_in_train` below
    # indexes those rows.
    lines = sorted(predictions, key=lambda line: line.clip_id)
    if not lines:
        return []
    hypotheses = {line.clip_id: line.hypothesis for line in lines}
    references = {line.clip_id: line.references for line in lines}
    metrics = [
        CorpusMetric(name, config.protocol_config, config.wordnet) for name in config.metrics
    ]
    # Compute the rows once on the whole split: the groups then share corpus-level estimates such as
    # CIDEr's document frequencies.
    rows = {
        metric.metric: metric.compute_clip_statistics(hypotheses, references) for metric in metrics
    }
    # One known reference is enough: reciting it already scores well.
    is_in_train = np.array([any(text in train_texts for text in line.references) for line in lines])
    groups = []
    for in_train, group_name in _GROUP_NAMES.items():
        group_mask = is_in_train == in_train
        if group_mask.any():
            scores = {
                m.metric: m.compute_score_from_sum(rows[m.metric][group_mask].sum(0))
                for m in metrics
            }
            groups.append(
                TrainOverlapScores(f"sentences {group_name}", int(group_mask.sum()), scores)
            )
    return groups
