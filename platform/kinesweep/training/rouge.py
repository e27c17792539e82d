"""ROUGE as a metric of sacreBLEU's kind, so that it has a signature and can be resampled.

The F1 of common n-grams or of the longest common subsequence (Lin 2004), against the best of a
clip's references, by torchmetrics; a corpus's score is the mean over its clips, times 100. Words
are those of sacreBLEU's tokenizer, so no language loses its letters; nothing is stemmed.
"""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Metric, Score, Signature
from sacrebleu.metrics.bleu import BLEU


class _RougeSignature(Signature):
    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"f": "f", "tok": "tok"}
        self.info |= {"f": 1, "tok": args["tokenizer_signature"]}


class Rouge(Metric):
    """ROUGE-1, ROUGE-2 or ROUGE-L.

    Args:
        key: `rouge1`, `rouge2` or `rougeL`.
        tokenize: name of a tokenizer of sacreBLEU.
    """

    _SIGNATURE_TYPE = _RougeSignature

    def __init__(self, key: str, tokenize: str) -> None:
        super().__init__()
        from torchmetrics.functional.text import rouge_score  # seconds; only where it is asked for

        self._key, self._rouge = key, rouge_score
        self._tokenizer = BLEU(tokenize=tokenize).tokenizer
        self.tokenizer_signature = self._tokenizer.signature()

    def _preprocess_segment(self, sent: str) -> str:
        return str(self._tokenizer(sent.rstrip()))

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        return {"references": list(refs)}

    def _compute_segment_statistics(
        self, hypothesis: str, ref_kwargs: dict[str, Any]
    ) -> list[float]:
        found = self._rouge(
            [hypothesis],
            [ref_kwargs["references"]],
            accumulate="best",
            normalizer=str,
            tokenizer=str.split,
            rouge_keys=self._key,
        )
        return [float(found[f"{self._key}_fmeasure"]), 1.0]

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        total, clips = stats
        return Score(self._key, 100 * total / clips)

    def _aggregate_and_compute(self, stats: Sequence[Sequence[float]]) -> Score:
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])
