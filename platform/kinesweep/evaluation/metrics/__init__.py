"""Metrics of texts beyond sacreBLEU: neural ones, and those of evaluate and torchmetrics.

`build_metric` returns any metric of a recipe by the name of its score, for rankings and baselines.
`compute_extra_scores` computes all that are not sacreBLEU's. Scores depend on models and libraries,
so these are part of the signatures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from kinesweep.config.parts import MetricPart
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.metrics import ExtraMetricConfig, TorchmetricsConfig
from kinesweep.config.recipe.objectives.text_alignment import RETRIEVAL_METRICS
from kinesweep.config.recipe.scores.captions import CaptionMetricConfig
from kinesweep.core.scores import ALIGNMENT_LOSSES, TASK_ACCURACIES
from kinesweep.evaluation.metrics.base import (
    ConfiguredMetric,
    MetricResult,
    References,
    TextMetric,
    Texts,
    isolate_scoring,
)
from kinesweep.evaluation.metrics.metric_parts import build_metric_part
from kinesweep.evaluation.metrics.stored import StoredMetric
from kinesweep.evaluation.metrics.task_accuracy import TaskAccuracy
from kinesweep.evaluation.scoring import CorpusMetric


@dataclass(frozen=True)
class ExtraScores:
    """Scores of metrics that are not sacreBLEU's.

    Attributes:
        values: Metric → score.
        signatures: Metric → protocol and settings.
        clip_scores: Metric → clip id → score, for metrics whose corpus score is their mean.
        counts: Metric → numbers of clips, answers and requests, for judges.
    """

    values: dict[str, float] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    clip_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, name: str, result: MetricResult) -> None:
        """Add the result of a metric and of the parts that are reported with it."""
        self.values[name] = result.value
        self.signatures[name] = result.signature
        for part_name, value in result.parts.items():
            self.values[part_name] = value
            self.signatures[part_name] = result.signature
        if result.clip_scores is not None:
            self.clip_scores[name] = result.clip_scores
        if result.counts:
            self.counts[name] = dict(result.counts)


def compute_extra_scores(
    hypotheses: Texts,
    references: References,
    config: EvaluationConfig,
    device: torch.device | str = "cpu",
    sources: Mapping[str, str] | None = None,
) -> ExtraScores:
    """Compute `evaluation.neural_metrics`, `evaluation.extra_metrics` and `evaluation.judges`.

    The metric models are loaded first; one that is named by its hub id may be downloaded. Random
    number generators are left as they were.

    Args:
        hypotheses: Clip id → text.
        references: Clip id → reference sentences, for the same clips.
        config: Metrics and scoring protocol.
        device: Device for the metric models.
        sources: Clip id → source text for COMET.

    Returns:
        Scores and signatures; empty if no metric is selected.

    Raises:
        InputError: If a metric's model or script cannot be read or is of the wrong kind, or COMET
            lacks a source text.
        JudgeError: If a judge cannot be asked or needs more requests than allowed.
        ResourceError: If the environment of COMET cannot be created.
    """
    scores = ExtraScores()
    with isolate_scoring(device):
        for name, create in _list_factories(config, device, sources or {}).items():
            scores.add(name, create().compute(hypotheses, references))
        for judge in config.judges:
            from kinesweep.evaluation.judges.panel import JudgePanel

            for name, result in JudgePanel(judge).compute(hypotheses, references).items():
                scores.add(name, result)
    return scores


def build_metric(
    name: str,
    config: EvaluationConfig,
    device: torch.device | str = "cpu",
    sources: Mapping[str, str] | None = None,
) -> TextMetric:
    """Build a metric by the name of its score.

    Args:
        name: Name of a score in `EvaluationConfig.metric_modes`, or one of `evaluation.metrics`
            that the recipe does not list.
        config: Settings of the metrics and the scoring protocol.
        device: Device for a metric's model.
        sources: Clip id → source text for COMET.

    Raises:
        InputError: If a metric's script cannot be loaded.
        JudgeError: If the recording of a judge cannot be read.
    """
    for judge in config.judges:
        if name in judge.score_names:
            from kinesweep.evaluation.judges.metric import JudgeMetric
            from kinesweep.evaluation.judges.panel import JudgePanel

            return JudgeMetric(name, JudgePanel(judge))
    if name in TASK_ACCURACIES:
        return TaskAccuracy(name, config.protocol_config)
    factory = _list_factories(config, device, sources or {}).get(name)
    # Scores of the stage `align` are computed by its runs, which leave them beside the predictions.
    if name in (*ALIGNMENT_LOSSES, *RETRIEVAL_METRICS):
        return StoredMetric(name, config.protocol_config)
    if factory is None:
        return CorpusMetric(name, config.protocol_config, config.wordnet)
    return factory()


def _list_factories(
    config: EvaluationConfig, device: torch.device | str, sources: Mapping[str, str]
) -> dict[str, Callable[[], ConfiguredMetric]]:
    """Return name → constructor of all neural and extra metrics that a recipe names."""
    neural, protocol = config.neural_metrics, config.protocol_config
    factories: dict[str, Callable[[], ConfiguredMetric]] = {}
    # The modules are imported only if they are used: their libraries take seconds to load.
    if (bertscore := neural.bertscore) is not None:
        from kinesweep.evaluation.metrics.bertscore import BertScore

        factories["bertscore"] = lambda: BertScore(bertscore, protocol, device)
    if (bleurt := neural.bleurt) is not None:
        from kinesweep.evaluation.metrics.bleurt import Bleurt

        factories["bleurt"] = lambda: Bleurt(bleurt, protocol, device)
    if (comet := neural.comet) is not None:
        from kinesweep.evaluation.metrics.comet import Comet

        factories["comet"] = lambda: Comet(comet, protocol, device, sources)
    for metric in config.extra_metrics:
        factories[metric.score_name] = lambda metric=metric: _build_extra(metric, config, device)  # type: ignore[misc]
    return factories


def _build_extra(
    metric: ExtraMetricConfig,
    config: EvaluationConfig,
    device: torch.device | str,
) -> ConfiguredMetric:
    """Build a metric of `evaluation.extra_metrics`.

    Raises:
        InputError: If it cannot be created.
    """
    if isinstance(metric, MetricPart):
        return build_metric_part(metric, config.protocol_config, device)
    if isinstance(metric, TorchmetricsConfig):
        from kinesweep.evaluation.metrics.torchmetrics_text import TorchmetricsMetric

        return TorchmetricsMetric(metric, config.protocol_config, device)
    if isinstance(metric, CaptionMetricConfig):
        from kinesweep.evaluation.metrics.captions import build_caption_metric

        return build_caption_metric(metric, config.protocol_config)
    from kinesweep.evaluation.metrics.evaluate_library import (
        EvaluateCorpusMetric,
        EvaluateSegmentMetric,
    )

    metric_class = EvaluateSegmentMetric if metric.level == "segment" else EvaluateCorpusMetric
    return metric_class(metric, config.protocol_config)


__all__ = ["ExtraScores", "TextMetric", "build_metric", "compute_extra_scores"]
