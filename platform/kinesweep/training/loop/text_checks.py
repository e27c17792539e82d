"""Warnings about reference texts before the first step of a run.

Texts that the tokenizer cannot write, outputs that are cut off and a metric that does not suit the
script all lower scores without an error. None of them stops a run; each is said before it costs
hours. Up to 1,000 clips of each split are examined, in about 0.1 s a split.
"""

import logging

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.evaluation.text_normalization import normalize_text
from kinesweep.evaluation.tokenization.coverage import format_coverage_warnings, measure_coverage
from kinesweep.evaluation.tokenization.protocol import resolve_protocol, sample_corpus_texts
from kinesweep.evaluation.tokenization.scripts import is_unsuitable
from kinesweep.evaluation.tokenization.tokenizers import find_bleu_order
from kinesweep.store.format.reader import Store
from kinesweep.training.loop.components import RunComponents

_LOG = logging.getLogger(__name__)
_BLEU_ORDER = 4


def check_texts(
    components: RunComponents, evaluation: EvaluationConfig, generation: GenerationConfig
) -> dict[str, dict[str, float]]:
    """Examine the reference texts of all splits and log a warning for each finding.

    Args:
        components: Feature store and tokenizer of the run.
        evaluation: Metrics and scoring protocol.
        generation: Settings of decoding, with the maximum length of a text.

    Returns:
        Split → share of its tokens that are unknown, and shares of its texts that the tokenizer
        changes or that are too long (`TextCoverage.shares`).

    Raises:
        InputError: If the tokenizer of the scoring protocol is not installed.
    """
    store, limit = components.store, generation.max_new_tokens
    for warning in _find_metric_problems(store, evaluation):
        _LOG.warning("%s", warning)
    shares = {}
    for split in store.splits:
        coverage = measure_coverage(store.get_records(split), components.tokenizer, limit)
        for warning in format_coverage_warnings(split, coverage, limit):
            _LOG.warning("%s", warning)
        shares[split] = coverage.shares
    return shares


def _find_metric_problems(store: Store, evaluation: EvaluationConfig) -> list[str]:
    """Return warnings about a tokenizer or a metric that does not suit the texts of a corpus."""
    problems = []
    protocol = resolve_protocol(evaluation, store)
    if is_unsuitable(protocol.tokenize, sample_corpus_texts(store)):
        problems.append(
            f"`evaluation.protocol` sets the tokenizer `{protocol.tokenize}`, which splits at"
            " spaces, but the texts have none: whole sentences count as single words. Leave"
            " `tokenize` out to choose by the script."
        )
    references = [
        normalize_text(text, protocol)
        for record in (store.get_records("validation") if "validation" in store.splits else ())
        for text in record.clip.texts
    ]
    if "bleu" in evaluation.metrics and references:
        order = find_bleu_order(protocol.tokenize, references, _BLEU_ORDER)
        if order < _BLEU_ORDER:
            problems.append(
                f"all reference texts of validation have at most {order} words, so `bleu` counts"
                f" n-grams up to {order} instead of {_BLEU_ORDER}, as its signature says"
                f" (`order:{order}`). `chrf` is more informative for such texts."
            )
    return problems
