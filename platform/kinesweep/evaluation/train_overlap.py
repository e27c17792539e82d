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
from numpy.typing import NDArray

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
    """Return the set of all texts that a model may have learned from the training split."""
    return {text for record in store.get_records("train") for text in record.clip.training_texts}


def score_by_train_overlap(
    predictions: Sequence[Prediction], train_texts: set[str], config: EvaluationConfig
) -> list[TrainOverlapScores]:
    """Compute separate scores of the clips that have a reference in train and of the others.

    Args:
        predictions: Predictions with their references.
        train_texts: Texts of the training split, from `get_train_sentences`.
        config: Metrics and scoring protocol.

    Returns:
        Scores of the two groups, sentences that occur in train first. A group without clips is
        omitted.

    Raises:
        InputError: If the WordNet folder of METEOR contains no WordNet or it cannot be read.
    """
    # `compute_clip_statistics` returns its rows in the order of sorted ids; `is_in_train` below
    # indexes those rows.
    sorted_predictions = sorted(predictions, key=lambda prediction: prediction.clip_id)
    if not sorted_predictions:
        return []
    hypotheses = {prediction.clip_id: prediction.hypothesis for prediction in sorted_predictions}
    references = {prediction.clip_id: prediction.references for prediction in sorted_predictions}
    metrics = [
        CorpusMetric(name, config.protocol_config, config.wordnet) for name in config.metrics
    ]
    # Compute the statistics once on the whole split: the groups then share corpus-level estimates
    # such as CIDEr's document frequencies.
    statistics_by_metric = {
        metric.metric: metric.compute_clip_statistics(hypotheses, references) for metric in metrics
    }
    is_in_train = _find_predictions_in_train(sorted_predictions, train_texts)
    groups = []
    for in_train, group_name in _GROUP_NAMES.items():
        group_mask = is_in_train == in_train
        if group_mask.any():
            scores = {
                metric.metric: metric.compute_score_from_sum(
                    statistics_by_metric[metric.metric][group_mask].sum(0)
                )
                for metric in metrics
            }
            groups.append(
                TrainOverlapScores(f"sentences {group_name}", int(group_mask.sum()), scores)
            )
    return groups


def _find_predictions_in_train(
    predictions: Sequence[Prediction], train_texts: set[str]
) -> NDArray[np.bool_]:
    """Return for each prediction whether at least one of its references occurs in train."""
    # One known reference is enough: reciting it already scores well.
    return np.array(
        [
            any(reference in train_texts for reference in prediction.references)
            for prediction in predictions
        ]
    )
