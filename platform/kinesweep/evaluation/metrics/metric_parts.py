"""Metrics that other packages add by entry point."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from kinesweep.config.parts import MetricPart, build_part, list_used_parts
from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics.base import ClipMeanMetric, ConfiguredMetric, TextPair


def build_metric_part(
    config: MetricPart, protocol: ScoringProtocol, device: torch.device | str
) -> ConfiguredMetric:
    """Build the metric of a package, whose class is called as `(config, protocol, device)`.

    Args:
        config: Section of the recipe.
        protocol: Normalization of hypotheses and references.
        device: Device for a model of the metric.

    Raises:
        InputError: If the package is not installed, or its class cannot be imported or built or is
            not a metric.
    """
    metric: ConfiguredMetric = build_part(config, (config, protocol, device), ConfiguredMetric)
    (part,) = list_used_parts(config)
    if metric.metric != config.score_name:
        raise InputError(
            f"{part}: the metric is called `{metric.metric}`, but the recipe expects the score"
            f" `{config.score_name}`; pass `config.score_name` to the base class"
        )
    metric.package = f"{part.package}-{part.version}"
    if isinstance(metric, ClipMeanMetric):
        checked = partial(_score_pairs, str(part), metric.score_pairs)
        metric.score_pairs = checked  # type: ignore[method-assign]
    return metric


def _score_pairs(
    part: str, score: Callable[[Sequence[TextPair]], Any], pairs: Sequence[TextPair]
) -> list[float]:
    """Compute the scores of pairs by the code of a package, and check them.

    Args:
        part: Description of the part.
        score: Its method `score_pairs`.
        pairs: Pairs to score.

    Raises:
        InputError: If it fails, or does not return one finite number for each pair.
    """
    try:
        scores = [float(value) for value in score(pairs)]
    # Code of another package, which may fail in any way.
    except Exception as error:
        raise InputError(
            f"{part} cannot score {len(pairs)} pairs of texts: {type(error).__name__}: {error}"
        ) from error
    num_finite = sum(map(math.isfinite, scores))
    if (len(scores), num_finite) != (len(pairs), len(pairs)):
        raise InputError(
            f"{part}: `score_pairs` must return one finite number for each of {len(pairs)} pairs,"
            f" but returned {len(scores)}, of which {num_finite} are finite"
        )
    return scores
