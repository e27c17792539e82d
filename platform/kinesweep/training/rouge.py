"""ROUGE as a metric of sacreBLEU's kind, so that it has a signature and can be resampled.

The F1 of common n-grams or of the longest common subsequence (Lin 2004), against the best of a
clip's references, by torchmetrics; a corpus's score is the mean over its clips, times 100. Words
are those of sacreBLEU's tokenizer, so no language loses its letters; nothing is stemmed.
"""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Signature

from kinesweep.training.clip_mean import ClipMean


class _RougeSignature(Signature):
    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"f": "f", "tok": "tok"}
        self.info |= {"f": 1, "tok": args["tokenizer_signature"]}


class Rouge(ClipMean):
    """ROUGE-1, ROUGE-2 or ROUGE-L.

    Args:
        key: `rouge1`, `rouge2` or `rougeL`.
        tokenize: name of a tokenizer of sacreBLEU.
    """

    _SIGNATURE_TYPE = _RougeSignature

    def __init__(self, key: str, tokenize: str) -> None:
        super().__init__(key, tokenize)
        from torchmetrics.functional.text import rouge_score  # seconds; only where it is asked for

        self._key, self._rouge = key, rouge_score

    def of_clip(self, hypothesis: str, references: Sequence[str]) -> float:
        """F1 of the best reference."""
        found = self._rouge(
            [hypothesis],
            [list(references)],
            accumulate="best",
            normalizer=str,
            tokenizer=str.split,
            rouge_keys=self._key,
        )
        return float(found[f"{self._key}_fmeasure"])
