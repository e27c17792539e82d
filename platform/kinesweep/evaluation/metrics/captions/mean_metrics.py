"""ROUGE-L and CIDEr of nlg-metricverse, coco-caption and nlg-eval: means of the scores of clips."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.scores.captions import CaptionMetricConfig
from kinesweep.evaluation.cider import Cider
from kinesweep.evaluation.metrics.base import (
    ConfiguredMetric,
    MetricResult,
    References,
    Texts,
    build_mean_statistics,
)
from kinesweep.evaluation.metrics.captions.tokens import select_coco_split, split_alphanumeric

_COCO_BETA = 1.2
"""Weight of recall in coco-caption's ROUGE-L."""


class _CaptionMeanMetric(ConfiguredMetric):
    """A caption metric whose corpus score is the mean of the scores of clips.

    Args:
        config: Name and package of the metric.
        protocol: Normalization of texts before the package's own.
    """

    def __init__(self, config: CaptionMetricConfig, protocol: ScoringProtocol) -> None:
        super().__init__(config.score_name, protocol)
        self._config = config
        self._coco_split = select_coco_split(config.package)

    @abstractmethod
    def score_clips(
        self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[float]:
        """Compute the score of each clip, as the package returns it."""

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the corpus score with its signature and the scores of the clips."""
        texts, references_by_clip = self.normalize(hypotheses, references)
        scores = self.score_clips(texts, references_by_clip)
        clip_scores = {
            clip_id: self._config.scale * score
            for clip_id, score in zip(sorted(hypotheses), scores, strict=True)
        }
        value = sum(clip_scores.values()) / len(clip_scores)
        return MetricResult(value, self.format_signature(), clip_scores)

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Compute the score of each clip and the number 1, (clips, 2)."""
        clip_scores = self.compute(hypotheses, references).clip_scores
        assert clip_scores is not None
        return build_mean_statistics(clip_scores)

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the mean score of a set of clips from the sum of their statistics."""
        return float(summed_statistics[0] / summed_statistics[1])


class CaptionRouge(_CaptionMeanMetric):
    """ROUGE-L: F-measure of the longest common subsequence of words."""

    def score_clips(
        self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[float]:
        """Compute the ROUGE-L of each clip, 0 to 1."""
        score = _score_coco_rouge if self._coco_split else self._score_rouge
        split = self._coco_split or split_alphanumeric
        return [
            score(split(text), [split(reference) for reference in some])
            for text, some in zip(hypotheses, references, strict=True)
        ]

    def format_settings(self) -> str:
        """Format the weight of recall, the choice among references and the package."""
        if self._coco_split is not None:
            return f"beta:{_COCO_BETA}|package:{self._config.package}"
        return f"beta:1|references:{self._config.references or 'max'}|package:nlg_metricverse"

    def _score_rouge(self, words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """Return the best or the mean F1 of a text against its references."""
        scores = []
        for reference in references:
            common = _measure_common_subsequence(words, reference)
            # 2PR / (P + R) with P = common / words and R = common / reference.
            scores.append(2 * common / (len(words) + len(reference)) if common else 0.0)
        is_mean = self._config.references == "mean"
        return sum(scores) / len(scores) if is_mean else max(scores)


def _score_coco_rouge(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the F-measure of the best precision and the best recall over references."""
    common = [_measure_common_subsequence(words, reference) for reference in references]
    # A text without words has one empty word there, which matches nothing.
    precision = max(count / max(1, len(words)) for count in common)
    recall = max(c / max(1, len(r)) for c, r in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    weight = _COCO_BETA**2
    return (1 + weight) * precision * recall / (recall + weight * precision)


def _measure_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Return the length of the longest common subsequence of two sequences of words."""
    lengths = [0] * (len(right) + 1)
    for word in left:
        # One row of the table suffices; `diagonal` is the value that the loop has overwritten.
        diagonal = 0
        for position, other in enumerate(right, start=1):
            above = lengths[position]
            match = diagonal + 1 if word == other else 0
            lengths[position] = max(above, lengths[position - 1], match)
            diagonal = above
    return lengths[-1]


class CaptionCider(_CaptionMeanMetric):
    """CIDEr-D, which all three packages call CIDEr."""

    def score_clips(
        self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[float]:
        """Compute the CIDEr of each clip, 0 to 10, with n-gram weights from all references."""
        # nlg-metricverse splits at spaces only: case and punctuation count.
        split: Callable[[str], list[str]] = self._coco_split or str.split
        texts = [" ".join(split(text)) for text in hypotheses]
        # sacreBLEU takes one list for each reference number, with None where a clip has fewer.
        streams = [
            [" ".join(split(some[n])) if n < len(some) else None for some in references]
            for n in range(max(map(len, references)))
        ]
        # Texts were split above, so no further tokenizer may change them.
        metric = Cider("none")
        return [row[0] for row in metric._extract_corpus_statistics(texts, streams)]

    def format_settings(self) -> str:
        """Format the variant and the package."""
        return f"d:yes|n:4|sigma:6|package:{self._config.package}"
