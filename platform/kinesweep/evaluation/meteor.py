"""METEOR as a sacreBLEU metric, with a signature and support for bootstrap resampling.

nltk aligns the words of hypothesis and reference by identical word, identical Porter stem or common
WordNet synset, ignoring case (Lavie and Agarwal 2007; alpha 0.9, beta 3, gamma 0.5). The score of a
clip is that of its best reference; the corpus score is the mean over clips, times 100. This is
nltk's METEOR, as reported by SSVP-SLT, not Carnegie Mellon's Meteor 1.5: nltk looks up synonyms by
stem and therefore finds fewer. Stems and synonyms are English; in other languages little but
identical words matches.

A sentence of a dozen words takes 0.2 ms, or 0.3 ms with synonyms; the import of nltk takes 2 s
once.
"""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Signature

from kinesweep.evaluation.segment_metric import SegmentMeanMetric
from kinesweep.evaluation.wordnet import NO_SYNONYMS, open_wordnet


class _MeteorSignature(Signature):
    """A signature that adds the nltk version and the matching stages to the sacreBLEU fields."""

    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"case": "c", "tok": "tok", "nltk": "n", "match": "m"}
        self.info |= {"case": "lc", "tok": args["tokenizer_signature"]}
        self.info |= {"nltk": args["nltk"], "match": args["match"]}

    def format(self, short: bool = False) -> str:
        """Format the signature as text, with the matching stages at the end."""
        # The base class always puts `version` last; move `match` behind it.
        *other_fields, match, version = super().format(short).split("|")
        return "|".join([*other_fields, version, match])


class Meteor(SegmentMeanMetric):
    """The METEOR metric.

    Args:
        tokenize: Name of a sacreBLEU tokenizer.
        wordnet: WordNet folder; None disables synonyms.

    Raises:
        InputError: If the folder contains no WordNet or WordNet cannot be read.
    """

    _SIGNATURE_TYPE = _MeteorSignature

    def __init__(self, tokenize: str, wordnet: str | None) -> None:
        super().__init__("meteor", tokenize)
        # Imported here because it takes seconds and few recipes use METEOR.
        import nltk
        from nltk.translate.meteor_score import meteor_score

        synonyms = NO_SYNONYMS if wordnet is None else open_wordnet(wordnet)
        self._synonym_lookup, self._meteor_score = synonyms.reader, meteor_score
        # sacreBLEU passes these two attributes to the signature.
        self.nltk = nltk.__version__
        self.match = f"exact+stem+wordnet:{synonyms.version}" if synonyms.version else "exact+stem"

    def compute_clip_score(self, hypothesis: str, references: Sequence[str]) -> float:
        """Compute METEOR, 0 to 1, against the best reference; an empty hypothesis scores 0."""
        reference_words = [reference.split() for reference in references]
        return float(
            self._meteor_score(reference_words, hypothesis.split(), wordnet=self._synonym_lookup)
        )
