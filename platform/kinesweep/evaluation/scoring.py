"""Translation scores under a stated protocol: BLEU, chrF, TER, ROUGE, METEOR and CIDEr.

BLEU, chrF and TER come from sacreBLEU. Scores without signatures are not comparable, so each score
has a signature, which starts with the protocol. `Measure.rows` returns the statistics for bootstrap
resampling: the corpus score follows from their sum, so a resample costs additions only, without
tokenizing again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF, TER

from kinesweep.config.recipe.evaluation import PROTOCOLS, ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.evaluation.cider import Cider
from kinesweep.evaluation.meteor import Meteor
from kinesweep.evaluation.rouge import Rouge
from kinesweep.evaluation.text_normalization import normalize, protocol_name

# The default: texts are scored as they are, with sacreBLEU's tokenizer 13a.
RAW = PROTOCOLS["raw"]
# Name → constructor, given the name of a sacreBLEU tokenizer and the WordNet folder. `force`
# silences BLEU's warning about tokenized texts, which some corpora contain on purpose.
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


@dataclass(frozen=True)
class Scores:
    """Corpus scores with their signatures.

    Attributes:
        values: Metric → score, 0 to 100; 0 to 1000 for `cider`.
        signatures: Metric → protocol and sacreBLEU signature.
    """

    values: dict[str, float]
    signatures: dict[str, str]


def score(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    protocol: ScoringProtocol = RAW,
    wordnet: str | None = None,
) -> Scores:
    """Score hypotheses against one or more references each.

    Args:
        hypotheses: Clip id → text.
        references: Clip id → reference sentences.
        metrics: Names of metrics, as in `evaluation.metrics`.
        protocol: Normalization of hypotheses and references.
        wordnet: WordNet folder for METEOR's synonyms; None disables synonyms.

    Returns:
        Scores and signatures by metric.

    Raises:
        InputError: If there are no clips, ids differ between hypotheses and references, or the
            folder contains no WordNet.
    """
    lines, streams = _aligned(hypotheses, references, protocol)
    values, signatures = {}, {}
    for name in metrics:
        # A new object for each call, because signatures depend on the data that was scored last.
        metric = _METRICS[name](protocol.tokenize, wordnet)
        values[name] = float(metric.corpus_score(lines, streams).score)
        signatures[name] = (
            f"protocol:{protocol_name(protocol)}|{name}|{metric.get_signature().format()}"
        )
    return Scores(values, signatures)


def sentence_chrf(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    protocol: ScoringProtocol = RAW,
) -> dict[str, float]:
    """Return the chrF of each sentence, for inspection; a corpus score is not their mean.

    Args:
        hypotheses: Clip id → text.
        references: Clip id → reference sentences.
        protocol: Normalization of hypotheses and references.
    """
    metric = CHRF()
    found = {}
    for key, said in hypotheses.items():
        wanted = [normalize(reference, protocol) for reference in references[key]]
        found[key] = float(metric.sentence_score(normalize(said, protocol), wanted).score)
    return found


@dataclass(frozen=True)
class Measure:
    """A metric under a protocol, for the comparison of two systems.

    Attributes:
        metric: Name of the metric, as in `evaluation.metrics`.
        protocol: Normalization of hypotheses and references.
        wordnet: WordNet folder for METEOR's synonyms.
    """

    metric: str
    protocol: ScoringProtocol = RAW
    wordnet: str | None = None

    def __call__(
        self, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> float:
        """Return the corpus score."""
        found = score(hypotheses, references, [self.metric], self.protocol, self.wordnet)
        return found.values[self.metric]

    def rows(
        self, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> NDArray[np.float64]:
        """Return the sufficient statistics of each clip, sorted by id; (clips, numbers)."""
        lines, streams = _aligned(hypotheses, references, self.protocol)
        # Private, but sacreBLEU's own significance tests use the same function.
        statistics = self._made()._extract_corpus_statistics(lines, streams)
        return np.asarray(statistics, dtype=np.float64)

    def of_sums(self, total: NDArray[np.float64]) -> float:
        """Return the corpus score for a sum of rows."""
        # BLEU computes with integer counts.
        counted = self.metric.startswith("bleu")
        plain = [int(value) for value in total] if counted else total.tolist()
        return float(self._made()._compute_score_from_stats(plain).score)

    def _made(self) -> Any:
        """Return a new metric object."""
        return _METRICS[self.metric](self.protocol.tokenize, self.wordnet)


def _aligned(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    protocol: ScoringProtocol,
) -> tuple[list[str], list[list[str | None]]]:
    """Return normalized hypotheses in the order of ids, and reference streams for sacreBLEU.

    If a clip has fewer references than another, its remaining streams are None.
    """
    if not hypotheses or set(hypotheses) != set(references):
        missing = sorted(set(hypotheses) ^ set(references))[:3]
        raise InputError(
            f"the ids of {len(hypotheses)} hypotheses and {len(references)} references differ;"
            f" not in both: {', '.join(missing) or 'none, there are no clips'}"
        )
    ids = sorted(hypotheses)
    most = max(len(references[i]) for i in ids)
    # sacreBLEU expects one list for each reference number, not one for each clip.
    streams = [
        [normalize(references[i][n], protocol) if n < len(references[i]) else None for i in ids]
        for n in range(most)
    ]
    return [normalize(hypotheses[i], protocol) for i in ids], streams
