"""Translation scores under a stated protocol: BLEU, chrF, TER, ROUGE, METEOR and CIDEr.

BLEU, chrF and TER come from sacreBLEU. Scores without signatures are not comparable, so each score
has a signature, which starts with the protocol. `CorpusMetric.compute_clip_statistics` returns the
statistics for bootstrap resampling: the corpus score follows from their sum, so a resample costs
additions only, without tokenizing again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF, TER

from kinesweep.config.recipe.evaluation import SCORING_PROTOCOLS, ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.evaluation.cider import Cider
from kinesweep.evaluation.meteor import Meteor
from kinesweep.evaluation.rouge import Rouge
from kinesweep.evaluation.text_normalization import format_protocol, normalize_text

# The default: texts are scored as they are, with sacreBLEU's tokenizer 13a.
RAW_PROTOCOL = SCORING_PROTOCOLS["raw"]
# Name → constructor, given the name of a sacreBLEU tokenizer and the WordNet folder. `force`
# silences BLEU's warning about tokenized texts, which some corpora contain on purpose.
_METRIC_FACTORIES: dict[str, Callable[[str, str | None], Any]] = {
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
class MetricScores:
    """Corpus scores with their signatures.

    Attributes:
        values: Metric → score, usually 0 to 100; `cider` reaches 1000, and `ter` can exceed 100.
        signatures: Metric → protocol and signature of the metric.
    """

    values: dict[str, float]
    signatures: dict[str, str]


def compute_scores(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    protocol: ScoringProtocol = RAW_PROTOCOL,
    wordnet: str | None = None,
) -> MetricScores:
    """Compute corpus scores of hypotheses against one or more references each.

    Args:
        hypotheses: Clip id → text.
        references: Clip id → reference sentences, for the same clips.
        metrics: Names of metrics, as in `evaluation.metrics`.
        protocol: Normalization of hypotheses and references.
        wordnet: WordNet folder for METEOR's synonyms; None disables synonyms.

    Returns:
        Scores and signatures by metric.

    Raises:
        InputError: If there are no clips, ids differ between hypotheses and references, or
            `wordnet` contains no WordNet that can be read.
    """
    normalized_hypotheses, reference_streams = _align_texts(hypotheses, references, protocol)
    values, signatures = {}, {}
    for name in metrics:
        # A new object for each call, because signatures depend on the data that was scored last.
        metric = _METRIC_FACTORIES[name](protocol.tokenize, wordnet)
        values[name] = float(metric.corpus_score(normalized_hypotheses, reference_streams).score)
        signatures[name] = (
            f"protocol:{format_protocol(protocol)}|{name}|{metric.get_signature().format()}"
        )
    return MetricScores(values, signatures)


def compute_sentence_chrf(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    protocol: ScoringProtocol = RAW_PROTOCOL,
) -> dict[str, float]:
    """Compute the chrF of each sentence, for inspection; a corpus score is not their mean.

    Args:
        hypotheses: Clip id → text.
        references: Clip id → reference sentences, for all clips of `hypotheses`.
        protocol: Normalization of hypotheses and references.

    Returns:
        Clip id → sentence chrF, 0 to 100.
    """
    metric = CHRF()
    scores = {}
    for clip_id, hypothesis in hypotheses.items():
        normalized_references = [
            normalize_text(reference, protocol) for reference in references[clip_id]
        ]
        scores[clip_id] = float(
            metric.sentence_score(normalize_text(hypothesis, protocol), normalized_references).score
        )
    return scores


@dataclass(frozen=True)
class CorpusMetric:
    """A corpus-level metric under a scoring protocol, for the comparison of two systems.

    Attributes:
        metric: Name of the metric, as in `evaluation.metrics`.
        protocol: Normalization of hypotheses and references.
        wordnet: WordNet folder for METEOR's synonyms; None disables synonyms.
    """

    metric: str
    protocol: ScoringProtocol = RAW_PROTOCOL
    wordnet: str | None = None

    def __call__(
        self, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> float:
        """Compute the corpus score of hypotheses.

        Args:
            hypotheses: Clip id → text.
            references: Clip id → reference sentences, for the same clips.

        Raises:
            InputError: See `compute_scores`.
        """
        scores = compute_scores(hypotheses, references, [self.metric], self.protocol, self.wordnet)
        return scores.values[self.metric]

    def compute_clip_statistics(
        self, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> NDArray[np.float64]:
        """Compute the sufficient statistics of each clip, from whose sum the corpus score follows.

        Args:
            hypotheses: Clip id → text.
            references: Clip id → reference sentences, for the same clips.

        Returns:
            One row for each clip in the order of sorted ids, (clips, statistics).

        Raises:
            InputError: If there are no clips, ids differ between hypotheses and references, or the
                WordNet folder contains no WordNet or it cannot be read.
        """
        normalized_hypotheses, reference_streams = _align_texts(
            hypotheses, references, self.protocol
        )
        # Private, but sacreBLEU's own significance tests use the same function.
        statistics = self._create_metric()._extract_corpus_statistics(
            normalized_hypotheses, reference_streams
        )
        return np.asarray(statistics, dtype=np.float64)

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the corpus score of a set of clips from the sum of their statistics.

        Args:
            summed_statistics: Sum of rows from `compute_clip_statistics`, (statistics,).
        """
        # BLEU computes with integer counts.
        needs_integers = self.metric.startswith("bleu")
        statistics = (
            [int(value) for value in summed_statistics]
            if needs_integers
            else summed_statistics.tolist()
        )
        return float(self._create_metric()._compute_score_from_stats(statistics).score)

    def _create_metric(self) -> Any:
        """Create a new sacreBLEU metric object with the tokenizer of the protocol."""
        return _METRIC_FACTORIES[self.metric](self.protocol.tokenize, self.wordnet)


def _align_texts(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    protocol: ScoringProtocol,
) -> tuple[list[str], list[list[str | None]]]:
    """Normalize hypotheses and references and arrange them for sacreBLEU, in the order of ids.

    Returns:
        Normalized hypotheses, and reference streams as sacreBLEU calls them: one list for each
        reference number. A clip with fewer references than another has None in the remaining
        lists.

    Raises:
        InputError: If there are no clips or the ids of hypotheses and references differ.
    """
    if not hypotheses or set(hypotheses) != set(references):
        unmatched_ids = sorted(set(hypotheses) ^ set(references))[:3]
        raise InputError(
            f"the ids of {len(hypotheses)} hypotheses and {len(references)} references differ;"
            f" not in both: {', '.join(unmatched_ids) or 'none, there are no clips'}"
        )
    ids = sorted(hypotheses)
    max_references = max(len(references[i]) for i in ids)
    # sacreBLEU expects one list for each reference number, not one for each clip.
    reference_streams = [
        [
            # sacreBLEU ignores None, which stands for a reference that the clip does not have.
            normalize_text(references[i][n], protocol) if n < len(references[i]) else None
            for i in ids
        ]
        for n in range(max_references)
    ]
    return [normalize_text(hypotheses[i], protocol) for i in ids], reference_streams
