"""Scores of texts: sacreBLEU's BLEU, chrF and TER, ROUGE, METEOR and CIDEr, by a stated protocol.

A score without its signature is not comparable, so each comes with one; the protocol stands first
in it. `Measure.rows` gives what a bootstrap needs: sums of them give the corpus score, so
resampling costs additions, not tokenising.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF, TER

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.evaluation import PROTOCOLS, Protocol
from kinesweep.training.cider import Cider
from kinesweep.training.meteor import Meteor
from kinesweep.training.protocol import name_of, treat
from kinesweep.training.rouge import Rouge

RAW = PROTOCOLS["raw"]
_METRICS: dict[str, Callable[[str, str | None], Any]] = {
    "bleu": lambda tokenize, _: BLEU(force=True, tokenize=tokenize),
    "bleu1": lambda tokenize, _: BLEU(force=True, tokenize=tokenize, max_ngram_order=1),
    "bleu2": lambda tokenize, _: BLEU(force=True, tokenize=tokenize, max_ngram_order=2),
    "bleu3": lambda tokenize, _: BLEU(force=True, tokenize=tokenize, max_ngram_order=3),
    "chrf": lambda *_: CHRF(),
    "chrfpp": lambda *_: CHRF(word_order=2),
    "ter": lambda *_: TER(case_sensitive=True),
    "rouge1": lambda tokenize, _: Rouge("rouge1", tokenize),
    "rouge2": lambda tokenize, _: Rouge("rouge2", tokenize),
    "rouge": lambda tokenize, _: Rouge("rougeL", tokenize),
    "meteor": Meteor,
    "cider": lambda tokenize, _: Cider(tokenize),
}
"""Name → metric, given the name of sacreBLEU's tokenizer and the folder of WordNet."""


@dataclass(frozen=True)
class Scores:
    """Corpus scores.

    Attributes:
        values: metric → 0 to 100; of `cider` 0 to 1000.
        signatures: metric → protocol and sacreBLEU signature.
    """

    values: dict[str, float]
    signatures: dict[str, str]


def score(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    protocol: Protocol = RAW,
    wordnet: str | None = None,
) -> Scores:
    """Scores hypotheses, by clip id, against one or more references each.

    Args:
        hypotheses: clip id → text.
        references: clip id → sentences.
        metrics: of `evaluation.metrics`.
        protocol: what is done to texts before.
        wordnet: folder of METEOR's synonyms; None: it has none.

    Raises:
        InputError: no clips, ids of hypotheses and references differ, or no WordNet there.
    """
    lines, streams = _aligned(hypotheses, references, protocol)
    values, signatures = {}, {}
    for name in metrics:
        metric = _METRICS[name](protocol.tokenize, wordnet)
        values[name] = float(metric.corpus_score(lines, streams).score)
        signatures[name] = f"protocol:{name_of(protocol)}|{name}|{metric.get_signature().format()}"
    return Scores(values, signatures)


def sentence_chrf(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    protocol: Protocol = RAW,
) -> dict[str, float]:
    """Each sentence's chrF by itself, to look at; a corpus score is no mean of these."""
    metric = CHRF()
    found = {}
    for key, said in hypotheses.items():
        wanted = [treat(reference, protocol) for reference in references[key]]
        found[key] = float(metric.sentence_score(treat(said, protocol), wanted).score)
    return found


@dataclass(frozen=True)
class Measure:
    """What two systems are compared by: a metric under a protocol.

    Attributes:
        metric: one of `evaluation.metrics`.
        protocol: what is done to texts before.
        wordnet: folder of METEOR's synonyms.
    """

    metric: str
    protocol: Protocol = RAW
    wordnet: str | None = None

    def __call__(
        self, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> float:
        """The corpus score."""
        found = score(hypotheses, references, [self.metric], self.protocol, self.wordnet)
        return found.values[self.metric]

    def rows(
        self, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> NDArray[np.float64]:
        """Sufficient statistics of each clip, in the order of sorted ids; (clips, numbers)."""
        lines, streams = _aligned(hypotheses, references, self.protocol)
        # The function that sacreBLEU's own significance tests use.
        statistics = self._made()._extract_corpus_statistics(lines, streams)
        return np.asarray(statistics, dtype=np.float64)

    def of_sums(self, total: NDArray[np.float64]) -> float:
        """The corpus score of summed rows."""
        # BLEU takes its counts for whole numbers.
        counted = self.metric.startswith("bleu")
        plain = [int(value) for value in total] if counted else total.tolist()
        return float(self._made()._compute_score_from_stats(plain).score)

    def _made(self) -> Any:
        return _METRICS[self.metric](self.protocol.tokenize, self.wordnet)


def _aligned(
    hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]], protocol: Protocol
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
    ids = sorted(hypotheses)
    most = max(len(references[i]) for i in ids)
    streams = [
        [treat(references[i][n], protocol) if n < len(references[i]) else None for i in ids]
        for n in range(most)
    ]
    return [treat(hypotheses[i], protocol) for i in ids], streams
