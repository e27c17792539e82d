"""Metrics that other packages add by entry point."""

import torch

from kinesweep.config.parts import MetricPart, list_used_parts
from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics.base import ConfiguredMetric


def build_metric_part(
    config: MetricPart, protocol: ScoringProtocol, device: torch.device | str
) -> ConfiguredMetric:
    """Build the metric of a package, called as `(config, protocol, device)`.

    Args:
        config: Section of the recipe.
        protocol: Normalization of hypotheses and references.
        device: Device for a model of the metric.

    Raises:
        InputError: If the package is not installed, or its class cannot be imported or built or is
            not a metric.
    """
    # Before anything of the package is imported: a score without a version cannot be compared.
    (part,) = list_used_parts(config)
    metric_class = config.import_implementation()
    try:
        metric = metric_class(config, protocol, device)
    # The constructor is code of another package, which may fail in any way.
    except Exception as error:
        raise InputError(f"{part} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(metric, ConfiguredMetric):
        raise InputError(
            f"{part}: `{config.implementation}` must be a subclass of"
            " `kinesweep.evaluation.metrics.base.ClipMeanMetric` or `ConfiguredMetric`, not"
            f" {metric_class!r}"
        )
    if metric.metric != config.score_name:
        raise InputError(
            f"{part}: the metric is called `{metric.metric}`, but the recipe expects the score"
            f" `{config.score_name}`; pass `config.score_name` to the base class"
        )
    metric.package = f"{part.package}-{part.version}"
    return metric
