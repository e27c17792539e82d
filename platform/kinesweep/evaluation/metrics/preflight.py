"""Checks of neural and extra metrics and side tasks before training, which they will score."""

from collections.abc import Collection

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.data.tasks.task_batches import check_task_words
from kinesweep.evaluation.metrics import build_metric
from kinesweep.evaluation.metrics.base import isolate_scoring
from kinesweep.evaluation.metrics.source_texts import check_source_texts, get_source_texts
from kinesweep.store.format.reader import Store


def check_metrics(evaluation: EvaluationConfig, store: Store, splits: Collection[str]) -> None:
    """Check that extra metrics and judges can be used, and that tasks and COMET find their texts.

    The models of neural metrics are not loaded.

    Args:
        evaluation: Metrics and side tasks of a recipe.
        store: Store of the clips.
        splits: Names of the splits that will be scored.

    Raises:
        InputError: If a metric's arguments or script cannot be used, a clip has no source text, or
            the clips have too few words for a side task.
        JudgeError: If a key, a server or a recording of a judge is missing.
    """
    for split in sorted(splits):
        check_task_words(evaluation.tasks, store.get_records(split), split)
    # Creating some metrics draws random numbers, and training starts afterwards.
    with isolate_scoring("cpu"):
        for metric in evaluation.extra_metrics:
            build_metric(metric.score_name, evaluation)
    if evaluation.judges:
        from kinesweep.evaluation.judges.preflight import check_judges

        check_judges(evaluation, store, splits)
    comet = evaluation.neural_metrics.comet
    if comet is None:
        return
    for split in sorted(splits):
        clips = [record.clip for record in store.get_records(split)]
        sources = get_source_texts(comet, clips)
        check_source_texts(comet, [clip.id for clip in clips], sources)
