"""Scores of translations: sacreBLEU's BLEU and chrF, under a stated protocol.

A score without its signature is not comparable, so each comes with one; the protocol stands first
in it. `sentence_statistics` gives what a bootstrap needs: sums of its rows give the corpus score,
so resampling costs additions, not tokenising.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF

from kinesweep.core.errors import InputError

_METRICS: dict[str, Callable[[], Any]] = {"bleu": lambda: BLEU(force=True), "chrf": CHRF}
_PROTOCOLS: dict[str, Callable[[str], str]] = {"raw": lambda text: text}


@dataclass(frozen=True)
class Scores:
    """Corpus scores.

    Attributes:
        values: metric → 0 to 100.
        signatures: metric → protocol and sacreBLEU signature.
    """

    values: dict[str, float]
    signatures: dict[str, str]


def score(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    protocol: str = "raw",
) -> Scores:
    """Scores hypotheses, by clip id, against one or more references each.

    Raises:
        InputError: no clips, or ids of hypotheses and references differ.
    """
    lines, streams = _aligned(hypotheses, references, protocol)
    values, signatures = {}, {}
    for name in metrics:
        metric = _METRICS[name]()
        values[name] = float(metric.corpus_score(lines, streams).score)
        signatures[name] = f"protocol:{protocol}|{name}|{metric.get_signature().format()}"
    return Scores(values, signatures)


def sentence_chrf(
    hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]], protocol: str = "raw"
) -> dict[str, float]:
    """Each sentence's chrF by itself, to look at; a corpus score is no mean of these."""
    treat, metric = _PROTOCOLS[protocol], CHRF()
    return {
        key: float(metric.sentence_score(treat(said), [treat(r) for r in references[key]]).score)
        for key, said in hypotheses.items()
    }


def sentence_statistics(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    metric: str,
    protocol: str = "raw",
) -> NDArray[np.float64]:
    """Sufficient statistics of each clip, in the order of sorted ids. Returns (clips, numbers)."""
    lines, streams = _aligned(hypotheses, references, protocol)
    # The function that sacreBLEU's own significance tests use.
    statistics = _METRICS[metric]()._extract_corpus_statistics(lines, streams)
    return np.asarray(statistics, dtype=np.float64)


def score_statistics(total: NDArray[np.float64], metric: str) -> float:
    """The corpus score of summed rows of `sentence_statistics`."""
    plain = total.tolist() if metric == "chrf" else [int(value) for value in total]
    return float(_METRICS[metric]()._compute_score_from_stats(plain).score)


def _aligned(
    hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]], protocol: str
) -> tuple[list[str], list[list[str | None]]]:
    """Hypotheses in order of ids, and reference streams as sacreBLEU wants them.

    A clip with fewer references than another has None in the remaining streams.
    """
    if not hypotheses or set(hypotheses) != set(references):
        missing = sorted(set(hypotheses) ^ set(references))[:3]
        raise InputError(
            f"{len(hypotheses)} hypotheses and {len(references)} references do not belong"
            f" together; not in both: {', '.join(missing) or 'none, there are no clips'}"
        )
    treat = _PROTOCOLS[protocol]
    ids = sorted(hypotheses)
    most = max(len(references[i]) for i in ids)
    streams = [
        [treat(references[i][n]) if n < len(references[i]) else None for i in ids]
        for n in range(most)
    ]
    return [treat(hypotheses[i]) for i in ids], streams
