"""What a perfect recogniser of the signs would score: the ceiling of the sample corpus.

Rows of glosses pass through the grammar backwards to a meaning and forwards to its likeliest
English, and sacreBLEU compares that with the references. Below 100 because a synonym cannot be
seen.
"""

from collections.abc import Sequence

import sacrebleu

from kinesweep.sources.sample.english import english
from kinesweep.sources.sample.grammar import read_glosses


def best_guess(glosses: list[str]) -> str:
    """The likeliest English of a row of signs and marks."""
    return english(read_glosses(glosses))


def perfect_recogniser_bleu(clips: Sequence[tuple[list[str], str]]) -> float:
    """Corpus BLEU (13a, mixed case) of the best guesses for (glosses, reference) pairs."""
    guesses = [best_guess(glosses) for glosses, _ in clips]
    return float(sacrebleu.corpus_bleu(guesses, [[text for _, text in clips]]).score)
