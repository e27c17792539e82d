"""Any text metric of torchmetrics, with the statistics of each clip for bootstrap resampling.

A metric whose states are sums (error rates, BLEU, chrF, TER, SQuAD) is updated with one clip at a
time; its states are then sufficient statistics, from whose sum the corpus score follows. Metrics
that collect sentences (ROUGE, extended edit distance, BERTScore, InfoLM) score each clip, and their
corpus score is the mean, as in torchmetrics. Those with a model score all clips in one call.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchmetrics
import torchmetrics.text
from numpy.typing import NDArray
from torchmetrics.functional.text import helper_embedding_metric
from torchmetrics.utilities import dim_zero_sum

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.metrics import TORCHMETRICS_TEXT, TorchmetricsConfig
from kinesweep.core.errors import InputError, format_one_line
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.evaluation.metrics.base import (
    ConfiguredMetric,
    MetricResult,
    References,
    Texts,
    build_mean_statistics,
)

_MODEL_METRICS: dict[str, dict[str, Any]] = {
    "BERTScore": {},
    "InfoLM": {"verbose": False, "return_sentence_level_score": True},
}
"""Metrics that need a model → arguments that are always set."""


class TorchmetricsMetric(ConfiguredMetric):
    """A text metric of torchmetrics.

    A metric that takes one reference gets the one with the best score of the clip.

    Args:
        config: Name and arguments of the metric.
        protocol: Normalization of hypotheses and references.
        device: Device for the models of BERTScore and InfoLM.

    Raises:
        InputError: If the arguments do not suit the metric, or its model cannot be read.
    """

    def __init__(
        self, config: TorchmetricsConfig, protocol: ScoringProtocol, device: torch.device | str
    ) -> None:
        super().__init__(config.score_name, protocol)
        self._config = config
        self._facts = TORCHMETRICS_TEXT[config.name]
        self._metric = _create_metric(config).to(device)
        states = self._metric._defaults.items()
        # States that data-parallel training would add up can be added over clips as well.
        self._is_additive = all(
            isinstance(default, torch.Tensor) and self._metric._reductions[name] is dim_zero_sum
            for name, default in states
        )

    def format_settings(self) -> str:
        """Format the name, the arguments and the library's version."""
        return f"{format_arguments(self._config)}|torchmetrics:{torchmetrics.__version__}"

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the corpus score with its signature."""
        if self._is_additive:
            statistics = self.compute_clip_statistics(hypotheses, references)
            score = self.compute_score_from_sum(statistics.sum(0))
            return MetricResult(score, self.format_signature())
        clip_scores = self._compute_clip_scores(hypotheses, references)
        value = sum(clip_scores.values()) / len(clip_scores)
        return MetricResult(value, self.format_signature(), clip_scores)

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Compute the states of the metric for each clip alone, (clips, states)."""
        if not self._is_additive:
            return build_mean_statistics(self._compute_clip_scores(hypotheses, references))
        texts, clip_references = self.normalize(hypotheses, references)
        rows = [
            self._score_clip(index, text, some)[1]
            for index, (text, some) in enumerate(zip(texts, clip_references, strict=True))
        ]
        return np.stack(rows)

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the corpus score of a set of clips from the sum of their statistics."""
        if not self._is_additive:
            return float(summed_statistics[0] / summed_statistics[1])
        metric, start = self._metric, 0
        metric.reset()
        for name, default in metric._defaults.items():
            assert isinstance(default, torch.Tensor)
            values = summed_statistics[start : start + default.numel()]
            start += default.numel()
            # A copy, because the metric would otherwise share memory with the sum of the caller.
            state = torch.as_tensor(values.copy()).reshape(default.shape)
            setattr(metric, name, state.to(default.dtype).to(metric.device))
        # torchmetrics warns when a metric without updates is computed.
        metric._update_count = 1
        return self._extract_score(metric.compute())

    def _compute_clip_scores(self, hypotheses: Texts, references: References) -> dict[str, float]:
        """Compute clip id → score, in the order of sorted ids."""
        texts, clip_references = self.normalize(hypotheses, references)
        if self._config.name in _MODEL_METRICS:
            return dict(
                zip(sorted(hypotheses), self._score_by_model(texts, clip_references), strict=True)
            )
        return {
            clip_id: self._score_clip(index, text, some)[0]
            for index, (clip_id, text, some) in enumerate(
                zip(sorted(hypotheses), texts, clip_references, strict=True)
            )
        }

    def _score_by_model(
        self, texts: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[float]:
        """Return the score of each clip by a metric with a model, with its best reference."""
        hypotheses = [text for text, some in zip(texts, references, strict=True) for _ in some]
        targets = [reference for some in references for reference in some]
        self._metric.reset()
        try:
            with _keep_sentence_order():
                self._metric.update(hypotheses, targets)
                result = self._metric.compute()
        except (ValueError, TypeError, LookupError, RuntimeError, OSError) as error:
            raise _build_error(self._config, error) from None
        # InfoLM returns the mean and the scores of the sentences.
        values = result[1] if isinstance(result, tuple) else _select_value(self._config, result)
        scores = iter((torch.as_tensor(values).double().reshape(-1) * self._config.factor).tolist())
        choose = min if self._config.direction == "min" else max
        return [choose(next(scores) for _ in some) for some in references]

    def _score_clip(
        self, index: int, hypothesis: str, references: Sequence[str]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the score of a clip and, if the metric is additive, its states.

        Args:
            index: Number of the clip, which SQuAD needs as an id.
            hypothesis: Normalized hypothesis.
            references: Normalized references of the clip.
        """
        choices = [list(references)] if self._facts.targets == "all" else [[r] for r in references]
        scored = [self._score_once(index, hypothesis, choice) for choice in choices]
        choose = min if self._config.direction == "min" else max
        return choose(scored, key=lambda item: item[0])

    def _score_once(
        self, index: int, hypothesis: str, references: list[str]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the score of a clip against the references of one update, and the states."""
        metric = self._metric
        metric.reset()
        preds, target = self._build_inputs(index, hypothesis, references)
        try:
            metric.update(preds, target)
            score = self._extract_score(metric.compute())
        # Arguments that do not suit each other are noticed only here, in ways of each metric.
        except (ValueError, TypeError, LookupError, RuntimeError, OSError) as error:
            raise _build_error(self._config, error) from None
        if not self._is_additive:
            return score, np.zeros(0)
        states = [getattr(metric, name).detach().cpu().reshape(-1) for name in metric._defaults]
        return score, torch.cat([state.double() for state in states]).numpy()

    def _build_inputs(self, index: int, hypothesis: str, references: list[str]) -> tuple[Any, Any]:
        """Return `preds` and `target` of one clip as the metric takes them."""
        if self._config.name == "SQuAD":
            # The metric requires positions of the answers, but does not use them.
            answers = {"text": references, "answer_start": [0] * len(references)}
            return (
                [{"prediction_text": hypothesis, "id": str(index)}],
                [{"answers": answers, "id": str(index)}],
            )
        return [hypothesis], [references] if self._facts.targets == "all" else references

    def _extract_score(self, result: Any) -> float:
        """Return the score from the result of a metric, in the scale of the recipe."""
        return extract_score(self._config, result)


@contextmanager
def _keep_sentence_order() -> Iterator[None]:
    """Keep BERTScore and InfoLM of torchmetrics from sorting sentences by their lengths.

    The library (1.9.0) sorts hypotheses and references separately. It then applies the permutation
    again instead of its inverse, so that a text is compared with the reference of another one.
    """

    def keep_order(
        input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the tokens as they are, and the permutation that changes nothing."""
        return input_ids, attention_mask, torch.arange(len(input_ids))

    original = helper_embedding_metric._sort_data_according_length
    helper_embedding_metric._sort_data_according_length = keep_order
    try:
        yield
    finally:
        helper_embedding_metric._sort_data_according_length = original


def _create_metric(config: TorchmetricsConfig) -> torchmetrics.Metric:
    """Create the metric object.

    Raises:
        InputError: If an argument is wrong, or a model or package is missing.
    """
    metric_class = getattr(torchmetrics.text, config.name)
    arguments = config.arguments | _MODEL_METRICS.get(config.name, {})
    try:
        with silence_transformers():
            metric: torchmetrics.Metric = metric_class(**arguments)
    except (ValueError, TypeError, OSError, LookupError, ImportError, RuntimeError) as error:
        raise _build_error(config, error) from None
    return metric


def _build_error(config: TorchmetricsConfig, error: Exception) -> InputError:
    """Return the error that explains why a metric cannot be computed."""
    if isinstance(error, InputError):
        return error
    reason = format_one_line(error)
    return InputError(
        f"`evaluation.extra_metrics`: torchmetrics' `{config.name}` cannot be computed with the"
        f" arguments {json.dumps(config.arguments)}: {reason}"
    )


def format_arguments(config: Any) -> str:
    """Format the name, arguments, key and scale of an extra metric for its signature."""
    arguments = {
        # A path says nothing on another machine.
        key: Path(value).name if key == "model_name_or_path" else value
        for key, value in sorted(config.arguments.items())
    }
    parts = [f"name:{Path(config.name).name}"]
    parts += [f"{key}:{value}" for key, value in arguments.items()]
    parts += [f"key:{config.key}"] if config.key else []
    parts += [f"scale:{config.factor:g}"] if config.factor != 1 else []
    return "|".join(parts)


def extract_score(config: Any, result: Any) -> float:
    """Return the score from the result of an extra metric, in the scale of the recipe.

    Args:
        config: Settings with the key and the scale.
        result: Number, tensor, array or dict of these.

    Raises:
        InputError: If the result has several values and no key names one of them, or the key names
            none, or the value is not a number.
    """
    value = _select_value(config, result)
    try:
        number = torch.as_tensor(value, dtype=torch.float64).mean()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"`evaluation.extra_metrics`: `{config.name}` returns {str(value)[:60]}, not a number"
        ) from None
    return float(config.factor * float(number))


def _select_value(config: Any, result: Any) -> Any:
    """Return the value of the configured key, if a metric returns several.

    Raises:
        InputError: If the result has several values and no key names one of them, or the key names
            none.
    """
    if isinstance(result, Mapping):
        key = config.key if config.key is not None or len(result) != 1 else next(iter(result))
        if key not in result:
            raise InputError(
                f"`evaluation.extra_metrics`: `{config.name}` returns"
                f" {', '.join(map(str, result))}; set `key` to one of them"
                f" (it is {config.key or 'not set'})"
            )
        return result[key]
    return result
