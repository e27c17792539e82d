"""Metrics that are means over clips, of sacreBLEU's kind: with a signature, and resampled by sums.

Each clip gives two numbers, its score and 1; so a sum of rows is all that a corpus's score needs. A
score of n-gram counts, such as BLEU, is no mean of this kind.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Metric, Score
from sacrebleu.metrics.bleu import BLEU


class ClipMean(Metric):
    """The mean of a score between 0 and 1, times 100, over words of sacreBLEU's tokenizer.

    Args:
        name: of the metric.
        tokenize: name of a tokenizer of sacreBLEU.
    """

    def __init__(self, name: str, tokenize: str) -> None:
        super().__init__()
        self._name = name
        self._tokenizer = BLEU(tokenize=tokenize).tokenizer
        self.tokenizer_signature = self._tokenizer.signature()

    @abstractmethod
    def of_clip(self, hypothesis: str, references: Sequence[str]) -> float:
        """The score of one clip, 0 to 1; words are apart by spaces."""

    def _preprocess_segment(self, sent: str) -> str:
        return str(self._tokenizer(sent.rstrip()))

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        return {"references": list(refs)}

    def _compute_segment_statistics(
        self, hypothesis: str, ref_kwargs: dict[str, Any]
    ) -> list[float]:
        return [self.of_clip(hypothesis, ref_kwargs["references"]), 1.0]

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        total, clips = stats
        return Score(self._name, 100 * total / clips)

    def _aggregate_and_compute(self, stats: Sequence[Sequence[float]]) -> Score:
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])
