"""METEOR as a metric of sacreBLEU's kind, so that it has a signature and can be resampled.

Words of hypothesis and reference are aligned by nltk: the same word, the same Porter stem, a common
synset of WordNet (Lavie and Agarwal 2007; alpha 0.9, beta 3, gamma 0.5), case aside; a clip's score
is that of its best reference, a corpus's the mean over its clips, times 100. It is METEOR of nltk,
as SSVP-SLT reports it, not Carnegie Mellon's Meteor 1.5: nltk looks synonyms up by stem and so
finds fewer. Stems and synonyms are English; elsewhere little but equal words counts.

A sentence of a dozen words takes 0.2 ms, 0.3 ms with synonyms; nltk 2 s to import, once.
"""

from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.base import Signature

from kinesweep.training.clip_mean import ClipMean
from kinesweep.training.wordnet import NO_SYNONYMS, open_wordnet


class _MeteorSignature(Signature):
    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"case": "c", "tok": "tok", "nltk": "n", "match": "m"}
        self.info |= {"case": "lc", "tok": args["tokenizer_signature"]}
        self.info |= {"nltk": args["nltk"], "match": args["match"]}

    def format(self, short: bool = False) -> str:
        """The usual parts, what was matched at the end."""
        *parts, match, version = super().format(short).split("|")
        return "|".join([*parts, version, match])


class Meteor(ClipMean):
    """METEOR.

    Args:
        tokenize: name of a tokenizer of sacreBLEU.
        wordnet: folder of WordNet; None: no synonyms.

    Raises:
        InputError: the folder holds no WordNet.
    """

    _SIGNATURE_TYPE = _MeteorSignature

    def __init__(self, tokenize: str, wordnet: str | None) -> None:
        super().__init__("meteor", tokenize)
        import nltk  # seconds; only where it is asked for
        from nltk.translate.meteor_score import meteor_score

        known = NO_SYNONYMS if wordnet is None else open_wordnet(wordnet)
        self._synonyms, self._meteor = known.reader, meteor_score
        self.nltk = nltk.__version__
        self.match = f"exact+stem+wordnet:{known.version}" if known.version else "exact+stem"

    def of_clip(self, hypothesis: str, references: Sequence[str]) -> float:
        """Score of the best reference; 0 where nothing was said."""
        words = [reference.split() for reference in references]
        return float(self._meteor(words, hypothesis.split(), wordnet=self._synonyms))
