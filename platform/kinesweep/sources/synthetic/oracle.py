"""The upper bound of the sample corpus: the BLEU score of perfect sign recognition.

The grammar parses the glosses of each clip to a meaning and generates its most likely English
sentence, which sacreBLEU compares with the reference. The score is below 100, because the choice of
synonyms is not visible in the signs.
"""

from collections.abc import Sequence

import sacrebleu

from kinesweep.sources.synthetic.english import generate_english
from kinesweep.sources.synthetic.grammar import parse_glosses


def translate_glosses(glosses: list[str]) -> str:
    """Translate a sequence of signs and marks to its most likely English sentence."""
    return generate_english(parse_glosses(glosses))


def compute_perfect_recognition_bleu(clips: Sequence[tuple[list[str], str]]) -> float:
    """Compute the corpus BLEU (13a, mixed case) of a system with perfect sign recognition.

    Args:
        clips: Pairs of glosses and reference sentence.
    """
    predictions = [translate_glosses(glosses) for glosses, _ in clips]
    return float(sacrebleu.corpus_bleu(predictions, [[text for _, text in clips]]).score)
