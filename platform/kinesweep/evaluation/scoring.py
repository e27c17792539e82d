"""Translation scores under a stated protocol: BLEU, chrF, TER, ROUGE, METEOR and CIDEr.

BLEU, chrF and TER come from sacreBLEU. Scores without signatures are not comparable, so each score
has a signature, which starts with the protocol. `CorpusMetric.compute_clip_statistics` returns the
statistics for bootstrap resampling: the corpus score follows from their sum, so a resample costs
additions only, without tokenizing again.

A protocol whose tokenizer is `auto` gets the tokenizer that suits the references. Callers that
score several splits or models of a corpus resolve it for the corpus first (`resolve_protocol`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import CHRF

from kinesweep.config.recipe.evaluation import SCORING_PROTOCOLS, ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.evaluation.cider import Cider
from kinesweep.evaluation.meteor import Meteor
from kinesweep.evaluation.rouge import Rouge
from kinesweep.evaluation.text_normalization import (
    format_protocol,
    normalize_hypothesis,
    normalize_text,
    unify_forms,
)
from kinesweep.evaluation.tokenization.protocol import resolve_protocol_by_references
from kinesweep.evaluation.tokenization.tokenizers import (
    create_bleu,
    create_chrf_plus_plus,
    create_ter,
    find_bleu_order,
)

# The default: texts are scored as they are, with a tokenizer that suits their script.
RAW_PROTOCOL = SCORING_PROTOCOLS["raw"]
# BLEU metric → maximum n-gram order.
_BLEU_ORDERS = {"bleu": 4, "bleu1": 1, "bleu2": 2, "bleu3": 3}
# Name of another metric → constructor, given the name of a tokenizer and the WordNet folder.
_METRIC_FACTORIES: dict[str, Callable[[str, str | None], Any]] = {
    "chrf": lambda *_: CHRF(),
    "chrfpp": lambda tokenize, _: create_chrf_plus_plus(tokenize),
    "ter": lambda tokenize, _: create_ter(tokenize),
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
        InputError: If there are no clips, ids differ between hypotheses and references, `wordnet`
            contains no WordNet that can be read, the references are in several scripts that need
            different tokenizers, or the tokenizer of the protocol is not installed.
    """
    protocol = resolve_protocol_by_references(protocol, references)
    normalized_hypotheses, reference_streams = _align_texts(hypotheses, references, protocol)
    marks = _format_unification_mark(references)
    values, signatures = {}, {}
    for name in metrics:
        # A new object for each call, because signatures depend on the data that was scored last.
        metric, order = _create_metric(name, protocol.tokenize, wordnet, reference_streams)
        values[name] = float(metric.corpus_score(normalized_hypotheses, reference_streams).score)
        order_mark = "" if order == _BLEU_ORDERS.get(name) else f"order:{order}|"
        signatures[name] = (
            f"protocol:{format_protocol(protocol)}|{name}|{order_mark}{marks}"
            f"{metric.get_signature().format()}"
        )
    return MetricScores(values, signatures)


def _create_metric(
    name: str, tokenize: str, wordnet: str | None, reference_streams: Sequence[Sequence[str | None]]
) -> tuple[Any, int | None]:
    """Create a new metric object for references, whose lengths may limit the order of BLEU.

    Args:
        name: Name of the metric, as in `evaluation.metrics`.
        tokenize: Name of a tokenizer, except `auto`.
        wordnet: WordNet folder for METEOR's synonyms; None disables synonyms.
        reference_streams: Normalized references, as `_align_texts` returns them.

    Returns:
        The metric, and the n-gram order of BLEU (None for other metrics).

    Raises:
        InputError: If the tokenizer or WordNet is missing.
    """
    if name not in _BLEU_ORDERS:
        return _METRIC_FACTORIES[name](tokenize, wordnet), None
    texts = (text for stream in reference_streams for text in stream if text is not None)
    order = find_bleu_order(tokenize, texts, _BLEU_ORDERS[name])
    return create_bleu(tokenize, order), order


def _format_unification_mark(references: Mapping[str, Sequence[str]]) -> str:
    """Return a part of the signature if unifying the forms of characters changed a reference.

    It depends on the references alone, so all systems of a comparison have the same signature.
    """
    is_changed = any(unify_forms(text) != text for texts in references.values() for text in texts)
    return "unicode:unified|" if is_changed else ""


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
            metric.sentence_score(
                normalize_hypothesis(hypothesis, protocol), normalized_references
            ).score
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

    @property
    def num_resamples(self) -> int:
        """Return the number of resamples that a ranking can afford, see `TextMetric`."""
        return 1000

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
        protocol = resolve_protocol_by_references(self.protocol, references)
        normalized_hypotheses, reference_streams = _align_texts(hypotheses, references, protocol)
        metric, _ = _create_metric(self.metric, protocol.tokenize, self.wordnet, reference_streams)
        # Private, but sacreBLEU's own significance tests use the same function.
        statistics = metric._extract_corpus_statistics(normalized_hypotheses, reference_streams)
        return np.asarray(statistics, dtype=np.float64)

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the corpus score of a set of clips from the sum of their statistics.

        Args:
            summed_statistics: Sum of rows from `compute_clip_statistics`, (statistics,).
        """
        # The statistics are counts already, so the tokenizer plays no part and none is loaded.
        if self.metric in _BLEU_ORDERS:
            # Two lengths, then matches and totals of each n-gram order that the references have.
            order = (len(summed_statistics) - 2) // 2
            metric: Any = create_bleu("none", order)
            # BLEU computes with integer counts.
            statistics = [int(value) for value in summed_statistics]
        else:
            metric = _METRIC_FACTORIES[self.metric]("none", self.wordnet)
            statistics = summed_statistics.tolist()
        return float(metric._compute_score_from_stats(statistics).score)


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
    return [normalize_hypothesis(hypotheses[i], protocol) for i in ids], reference_streams
