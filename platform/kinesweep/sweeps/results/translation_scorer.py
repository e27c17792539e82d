"""Comparison of translation runs by a metric of their validation texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.scores import TASK_ACCURACIES, name_task_accuracy
from kinesweep.evaluation.baselines import (
    find_best_constant_sentence,
    find_most_frequent_sentence,
    predict_nearest_neighbors,
)
from kinesweep.evaluation.metrics import TextMetric
from kinesweep.store import Store
from kinesweep.sweeps.results.ranking import RankingEntry
from kinesweep.sweeps.results.scorer import ResultsByFinalist
from kinesweep.sweeps.results.sentence_statistics import (
    build_ranking_metric,
    compute_sentence_statistics,
)
from kinesweep.sweeps.search.finals import Finalist


@dataclass(frozen=True)
class TranslationScorer:
    """Scores of translation runs; implements `Scorer`.

    Attributes:
        metric_name: Name of the deciding objective.
        evaluation: Metrics, and the scoring protocol with the tokenizer of the corpus.
        store: Feature store with the clips of the train and validation splits.
    """

    metric_name: str
    evaluation: EvaluationConfig
    store: Store

    @cached_property
    def metric(self) -> TextMetric:
        """Return the metric, which may load a model.

        Raises:
            InputError: If the metric cannot be computed.
        """
        return build_ranking_metric(self.metric_name, self.evaluation, self.store)

    @property
    def num_resamples(self) -> int:
        """Return the number of resamples that a ranking can afford."""
        return self.metric.num_resamples

    @property
    def notes(self) -> Sequence[str]:
        """Return nothing: the reader of a report knows translations."""
        return ()

    def compute_score_from_sum(self, total_K: NDArray[np.float64]) -> float:
        """Compute a score from statistics that are summed over sentences."""
        return self.metric.compute_score_from_sum(total_K)

    def collect_statistics(
        self, finalists: Sequence[Finalist], results: ResultsByFinalist
    ) -> tuple[list[RankingEntry], list[str]]:
        """Compute the statistics of each validation sentence; see `Scorer`."""
        return compute_sentence_statistics(finalists, results, self.metric, self.store)

    def score_baselines(
        self, names: Sequence[str], finalists: Sequence[Finalist], results: ResultsByFinalist
    ) -> dict[str, float]:
        """Compute the validation scores of the requested baselines and of all sanity runs.

        Args:
            names: Names of the baselines, as in `SearchSpace.sanity_baselines`.
            finalists: Configurations of the finals; those that are not ranked are sanity runs.
            results: Name of a finalist → results of its finished runs.
        """
        metric_name = self.metric.metric
        # Answers are not texts of the corpus, so a copied sentence would always be wrong.
        if metric_name in TASK_ACCURACIES:
            scores = _get_constant_accuracy(metric_name, results)
        else:
            scores = _score_text_baselines(names, self.metric, self.store)
        for finalist in finalists:
            if not finalist.ranked and results[finalist.name]:
                # One seed suffices: a sanity run shows a level and takes no part in the ranking.
                scores[finalist.name] = results[finalist.name][0].scores[metric_name]
        return scores


def _get_constant_accuracy(metric_name: str, results: ResultsByFinalist) -> dict[str, float]:
    """Return the accuracy of the best constant answer in a side task, from the results of a run.

    Args:
        metric_name: Name of the accuracy.
        results: Name of a finalist → results of its finished runs, which have the same questions.
    """
    # Any run will do: the questions, and so the best constant answer, are the same.
    result = next(run for runs in results.values() for run in runs)
    task = metric_name.removesuffix(name_task_accuracy(""))
    scores = result.tasks["validation"][task]
    return {f"always “{scores['constant_answer']}”": scores["constant_accuracy"]}


def _score_text_baselines(
    names: Sequence[str], metric: TextMetric, store: Store
) -> dict[str, float]:
    """Compute the validation scores of baselines that copy texts of train.

    Args:
        names: Names of the baselines, as in `SearchSpace.sanity_baselines`.
        metric: Metric with its scoring protocol.
        store: Feature store with the clips of the train and validation splits.

    Returns:
        Display name of the baseline → score.
    """
    train, validation = store.get_records("train"), store.get_records("validation")
    references = {r.clip.id: r.clip.texts for r in validation}
    # Of train only: a baseline that reads validation texts would be an upper bound.
    train_sentences = [text for r in train for text in r.clip.texts]
    scores = {}
    if "frequent" in names:
        sentence = find_most_frequent_sentence(train_sentences)
        score = metric(dict.fromkeys(references, sentence), references)
        scores[f"always the most frequent, “{sentence}”"] = score
    if "constant" in names:
        sentence, _ = find_best_constant_sentence(train_sentences, references, metric.protocol)
        scores[f"always “{sentence}”"] = metric(dict.fromkeys(references, sentence), references)
    if "nearest" in names:
        scores["nearest neighbor"] = metric(
            predict_nearest_neighbors(store, train, validation), references
        )
    return scores
