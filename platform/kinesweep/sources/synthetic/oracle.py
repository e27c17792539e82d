"""The upper bound of the sample corpus: the BLEU score of perfect sign recognition.

The grammar parses the glosses of each clip to a meaning and generates its most likely English
sentence, which sacreBLEU compares with the reference. The score is below 100, because the choice of
synonyms is not visible in the signs.
"""

from collections.abc import Sequence

import sacrebleu

from kinesweep.sources.synthetic.english import english
from kinesweep.sources.synthetic.grammar import read_glosses


def best_guess(glosses: list[str]) -> str:
    """Return the most likely English sentence of a sequence of signs and marks."""
    return english(read_glosses(glosses))


def perfect_recogniser_bleu(clips: Sequence[tuple[list[str], str]]) -> float:
    """Return the corpus BLEU (13a, mixed case) of the best guesses.

    Args:
        clips: Pairs of glosses and reference sentence.
    """
    guesses = [best_guess(glosses) for glosses, _ in clips]
    return float(sacrebleu.corpus_bleu(guesses, [[text for _, text in clips]]).score)
