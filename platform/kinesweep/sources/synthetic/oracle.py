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
    """Translate a sequence of signs and marks to its most likely English sentence.

    Raises:
        KeyError: If a gloss is not in the lexicon.
        ValueError: If the signs are not a sentence of this language.
    """
    return generate_english(parse_glosses(glosses))


def compute_perfect_recognition_bleu(
    glosses_and_references: Sequence[tuple[list[str], str]],
) -> float:
    """Compute the BLEU score, from 0 to 100, of a system with perfect sign recognition.

    This is sacreBLEU's corpus score with its default settings (tokenization 13a, mixed case).

    Args:
        glosses_and_references: Glosses and reference sentence of each clip.
    """
    hypotheses = [translate_glosses(glosses) for glosses, _ in glosses_and_references]
    references = [reference for _, reference in glosses_and_references]
    return float(sacrebleu.corpus_bleu(hypotheses, [references]).score)
