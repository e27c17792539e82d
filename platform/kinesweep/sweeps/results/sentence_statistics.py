"""Statistics of every validation sentence of a sweep's runs, from which configurations are ranked.

Neural metrics leave the score of each clip beside the predictions of a run, so that a ranking reads
numbers instead of loading a model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.scores import TASK_ACCURACIES
from kinesweep.evaluation.judges.metric import JudgeMetric
from kinesweep.evaluation.metrics import TextMetric, build_metric
from kinesweep.evaluation.metrics.base import build_mean_statistics
from kinesweep.evaluation.metrics.source_texts import get_source_texts
from kinesweep.evaluation.predictions import read_clip_scores, read_predictions
from kinesweep.store import Store
from kinesweep.sweeps.journal.run_folders import parse_run_name
from kinesweep.sweeps.results.ranking import RankingEntry
from kinesweep.sweeps.search.finals import Finalist
from kinesweep.training.run_records.result import RunResult


def build_ranking_metric(name: str, evaluation: EvaluationConfig, store: Store) -> TextMetric:
    """Build the metric by which the validation texts of models are compared.

    Args:
        name: Name of the objective.
        evaluation: Metrics, and the scoring protocol with the tokenizer of the corpus.
        store: Feature store with the validation clips, for source texts.

    Raises:
        InputError: If the script of the metric or a table of source texts cannot be read.
    """
    clips = [record.clip for record in store.get_records("validation")]
    sources = get_source_texts(evaluation.neural_metrics.comet, clips) if name == "comet" else {}
    return build_metric(name, evaluation, sources=sources)


def compute_sentence_statistics(
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    metric: TextMetric,
    store: Store,
) -> tuple[list[RankingEntry], list[str]]:
    """Read the validation predictions of all runs and compute the statistics of each sentence.

    Sanity runs and finalists with fewer than two finished seeds are left out of the entries.

    Args:
        finalists: Configurations of the finals.
        results: Name of a finalist → results of its finished runs.
        metric: Metric with its scoring protocol.
        store: Feature store with the documents of the validation clips.

    Returns:
        Entries of the ranking, and the document of each sentence in the order of the statistics.

    Raises:
        InputError: If a run has no readable predictions, or the metric cannot be computed.
    """
    documents = {r.clip.id: r.clip.document or r.clip.id for r in store.get_records("validation")}
    entries: list[RankingEntry] = []
    clip_ids: list[str] = []
    for finalist in finalists:
        statistics_by_seed = {}
        for result in results[finalist.name]:
            path = result.folder / "predictions" / "validation.tsv"
            seed = parse_run_name(result.folder.name).seed
            statistics_by_seed[seed], clip_ids = compute_run_statistics(path, metric)
        if finalist.ranked and len(statistics_by_seed) >= 2:
            entries.append(RankingEntry(finalist.name, statistics_by_seed))
    return entries, [documents[clip_id] for clip_id in clip_ids]


def compute_run_statistics(
    predictions_path: Path, metric: TextMetric
) -> tuple[NDArray[np.float64], list[str]]:
    """Compute the statistics of each sentence of a run, or read them where they are known.

    Args:
        predictions_path: Predictions file of the run.
        metric: Metric with its scoring protocol.

    Returns:
        Statistics (N, K) and clip ids, both in the order of sorted ids. Every run decodes the same
        validation clips.

    Raises:
        InputError: If the predictions cannot be read, or the metric cannot be computed.
    """
    predictions = read_predictions(predictions_path)
    hypotheses = {p.clip_id: p.hypothesis for p in predictions}
    clip_scores = read_clip_scores(predictions_path, metric.metric)
    # Scores of other clips would belong to predictions that were replaced.
    if clip_scores is not None and set(clip_scores) == set(hypotheses):
        return build_mean_statistics(clip_scores, sorted(hypotheses)), sorted(hypotheses)
    # A judge may have no valid answer about a clip, and asking again would cost requests.
    if (
        clip_scores is not None
        and isinstance(metric, JudgeMetric)
        and set(clip_scores) < set(hypotheses)
    ):
        return build_mean_statistics(clip_scores, sorted(hypotheses)), sorted(hypotheses)
    # Questions of side tasks are asked about the same clips in every run, but maybe not about all.
    if clip_scores is not None and metric.metric in TASK_ACCURACIES:
        return build_mean_statistics(clip_scores, sorted(clip_scores)), sorted(clip_scores)
    references = {p.clip_id: p.references for p in predictions}
    return metric.compute_clip_statistics(hypotheses, references), sorted(hypotheses)
