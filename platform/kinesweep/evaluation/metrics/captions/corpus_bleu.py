"""BLEU of nlg-metricverse, coco-caption and nlg-eval: counts of n-grams over a corpus.

nlg-metricverse compares lengths with the shortest reference of each clip and does not smooth;
coco-caption and nlg-eval compare them with the closest one and add tiny constants.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.scores.captions import CaptionMetricConfig
from kinesweep.evaluation.metrics.base import ConfiguredMetric, MetricResult, References, Texts
from kinesweep.evaluation.metrics.captions.tokens import (
    select_coco_split,
    split_without_punctuation,
)
from kinesweep.evaluation.ngrams import Ngram, count_ngrams

# Constants of coco-caption, in numerators and denominators.
_TINY, _SMALL = 1e-15, 1e-9


class CaptionBleu(ConfiguredMetric):
    """BLEU with n-grams up to an order.

    Args:
        config: Name, with the order, and package of the metric.
        protocol: Normalization of texts before the package's own.
    """

    def __init__(self, config: CaptionMetricConfig, protocol: ScoringProtocol) -> None:
        super().__init__(config.score_name, protocol)
        self._config = config
        self._order = int(config.name.removeprefix("bleu"))
        self._coco_split = select_coco_split(config.package)

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the corpus score with its signature."""
        statistics = self.compute_clip_statistics(hypotheses, references)
        return MetricResult(self.compute_score_from_sum(statistics.sum(0)), self.format_signature())

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Compute lengths, matches and numbers of n-grams, (clips, 2 + 2 × order)."""
        texts, references_by_clip = self.normalize(hypotheses, references)
        split = self._coco_split or split_without_punctuation
        rows = [
            self._count_clip(split(text), [split(reference) for reference in some])
            for text, some in zip(texts, references_by_clip, strict=True)
        ]
        return np.array(rows, dtype=np.float64)

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the corpus score from the sum of the clips' statistics."""
        length, reference_length = summed_statistics[:2].tolist()
        matches = summed_statistics[2 : 2 + self._order].tolist()
        totals = summed_statistics[2 + self._order :].tolist()
        if self._coco_split is not None:
            precisions = [(m + _TINY) / (t + _SMALL) for m, t in zip(matches, totals, strict=True)]
            ratio = (length + _TINY) / (reference_length + _SMALL)
        # Without smoothing, one order without a match makes the geometric mean zero.
        elif not all(matches) or not reference_length:
            return 0.0
        else:
            precisions = [m / t for m, t in zip(matches, totals, strict=True)]
            ratio = length / reference_length
        geometric_mean = math.exp(sum(map(math.log, precisions)) / self._order)
        penalty = 1.0 if ratio > 1 else math.exp(1 - 1 / ratio)
        return self._config.scale * geometric_mean * penalty

    def format_settings(self) -> str:
        """Format the order and the package."""
        return f"n:{self._order}|package:{self._config.package}"

    def _count_clip(self, words: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
        """Return the lengths, and matches and numbers of n-grams of each order, of one clip."""
        allowed: Counter[Ngram] = Counter()
        for reference in references:
            # The union of counters keeps the largest count of each n-gram, as BLEU clips matches.
            allowed |= count_ngrams(reference, self._order)
        matches = [0] * self._order
        for ngram, count in (count_ngrams(words, self._order) & allowed).items():
            matches[len(ngram) - 1] += count
        # A text shorter than n words has no n-grams of that order.
        totals = [max(0, len(words) - n) for n in range(self._order)]
        lengths = [len(reference) for reference in references]
        # Of two lengths that are equally close, the shorter one.
        closest = min(lengths, key=lambda length: (abs(length - len(words)), length))
        return [len(words), closest if self._coco_split else min(lengths), *matches, *totals]
