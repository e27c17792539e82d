"""ROUGE as a sacreBLEU metric, with a signature and support for bootstrap resampling.

The score is the F1 of common n-grams or of the longest common subsequence (Lin 2004) against the
best reference of a clip, computed by torchmetrics. The corpus score is the mean over clips, times
100. Words come from a sacreBLEU tokenizer, so letters of all languages are kept; words are not
stemmed.
"""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Signature

from kinesweep.evaluation.segment_metric import SegmentMeanMetric


class _RougeSignature(Signature):
    """A signature that adds the F-measure's beta and the tokenizer to the sacreBLEU fields."""

    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"f": "f", "tok": "tok"}
        self.info |= {"f": 1, "tok": args["tokenizer_signature"]}


class Rouge(SegmentMeanMetric):
    """The ROUGE-1, ROUGE-2 or ROUGE-L metric.

    Args:
        rouge_key: Variant by torchmetrics' name: `rouge1`, `rouge2` or `rougeL`.
        tokenize: Name of a sacreBLEU tokenizer.
    """

    _SIGNATURE_TYPE = _RougeSignature

    def __init__(self, rouge_key: str, tokenize: str) -> None:
        super().__init__(rouge_key, tokenize)
        # Imported here because it takes seconds and few recipes use ROUGE.
        from torchmetrics.functional.text import rouge_score

        self._rouge_key, self._rouge_score = rouge_key, rouge_score

    def compute_clip_score(self, hypothesis: str, references: Sequence[str]) -> float:
        """Compute the ROUGE F1, 0 to 1, against the best reference of a clip."""
        scores = self._rouge_score(
            [hypothesis],
            [list(references)],
            accumulate="best",
            # The default normalizer removes everything but ASCII letters and digits.
            normalizer=str,
            tokenizer=str.split,
            rouge_keys=self._rouge_key,
        )
        return float(scores[f"{self._rouge_key}_fmeasure"])
