"""A base class for sacreBLEU metrics whose corpus score is the mean of per-clip scores.

Subclasses have a signature and support bootstrap resampling. Each clip contributes two numbers, its
score and 1, so the sum of these rows is sufficient to compute the corpus score. Metrics based on
corpus-level n-gram counts, such as BLEU, are not means of this kind.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Metric, Score

from kinesweep.evaluation.tokenization.tokenizers import create_tokenizer


class SegmentMeanMetric(Metric):
    """A metric that averages per-clip scores, times 100, over words of a sacreBLEU tokenizer.

    Args:
        name: Name of the metric.
        tokenize: Name of a sacreBLEU tokenizer.
    """

    def __init__(self, name: str, tokenize: str) -> None:
        super().__init__()
        self._name = name
        self._tokenizer = create_tokenizer(tokenize)
        self.tokenizer_signature = self._tokenizer.signature()

    @abstractmethod
    def compute_clip_score(self, hypothesis: str, references: Sequence[str]) -> float:
        """Compute the score of one clip, before it is multiplied by 100.

        Args:
            hypothesis: Tokenized hypothesis; words are separated by spaces.
            references: Tokenized references of the clip; words are separated by spaces.
        """

    def _preprocess_segment(self, sent: str) -> str:
        """Return a sentence as its tokens, separated by spaces."""
        return str(self._tokenizer(sent.rstrip()))

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        """Return the references of a clip in the form that sacreBLEU caches for each clip."""
        return {"references": list(refs)}

    def _compute_segment_statistics(
        self, hypothesis: str, ref_kwargs: dict[str, Any]
    ) -> list[float]:
        """Return the statistics of a clip: its score and the count 1."""
        # sacreBLEU calls these rows sufficient statistics and sums them over a corpus or a
        # resample.
        return [self.compute_clip_score(hypothesis, ref_kwargs["references"]), 1.0]

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        """Return the corpus score, 100 times the mean clip score, from summed statistics."""
        score_sum, num_clips = stats
        return Score(self._name, 100 * score_sum / num_clips)

    def _aggregate_and_compute(self, stats: Sequence[Sequence[float]]) -> Score:
        """Return the corpus score from the statistics of each clip."""
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])
