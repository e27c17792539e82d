"""CIDEr-D as a metric of sacreBLEU's kind, so that it has a signature and can be resampled.

Hypothesis and reference are vectors of n-gram counts (n = 1 to 4) times how rare each n-gram is;
what counts is their cosine, a hypothesis's counts clipped to the reference's, times a penalty for
another length, mean over n and over ALL references of a clip (Vedantam et al. 2015,
arxiv.org/abs/1411.5726, section 5; sigma 6; counts unnormalised, as in the COCO caption evaluation
code). With that code's factor of 10 and the field's 100 a corpus reads 120 where captions are good,
and 1000 where each equals its only reference: it is no per cent.

Rare means in few clips: the logarithm of clips scored over those whose references hold the n-gram.
So a score belongs to the clips that it was computed on, whose number stands in the signature, and a
split of one clip scores 0; a resample keeps the rarities of the whole. Published figures were
tokenised in lower case without punctuation: `evaluation.protocol: {case: lower, punctuation: drop}`
comes next to that. A clip with three references of a dozen words takes 0.6 ms.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from sacrebleu.metrics.base import Signature

from kinesweep.training.clip_mean import ClipMean

_ORDER = 4
_SIGMA = 6.0
_SCALE = 10.0
"""All three as in the paper."""
Ngram = tuple[str, ...]


class _CiderSignature(Signature):
    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"d": "d", "n": "n", "sigma": "s", "idf": "i", "tok": "tok"}
        self.info |= {"d": "yes", "n": _ORDER, "sigma": int(_SIGMA)}
        self.info |= {
            "idf": f"refs-of-{args['num_clips']}-clips",
            "tok": args["tokenizer_signature"],
        }


class _Vector(NamedTuple):
    """A text, for each n: weight of each n-gram, and the vector's length; and its words."""

    weights: list[dict[Ngram, float]]
    norms: list[float]
    num_words: int


class Cider(ClipMean):
    """CIDEr-D.

    Args:
        tokenize: name of a tokenizer of sacreBLEU.

    Attributes:
        num_clips: clips whose references say how rare an n-gram is.
    """

    _SIGNATURE_TYPE = _CiderSignature

    def __init__(self, tokenize: str) -> None:
        super().__init__("cider", tokenize)
        self.num_clips = 0
        self._clips_with: Counter[Ngram] = Counter()

    def of_clip(self, hypothesis: str, references: Sequence[str]) -> float:
        """Mean over references, 0 to 10; 0 where nothing was said."""
        said = self._vector(hypothesis)
        return _SCALE * sum(_alike(said, self._vector(r)) for r in references) / len(references)

    def _cache_references(self, references: Sequence[Sequence[str]]) -> list[Any]:
        cache = super()._cache_references(references)
        self.num_clips = len(cache)
        self._clips_with = Counter()
        for clip in cache:
            self._clips_with.update({g for text in clip["references"] for g in _ngrams(text)})
        return cache

    def _vector(self, text: str) -> _Vector:
        weights: list[dict[Ngram, float]] = [{} for _ in range(_ORDER)]
        for ngram, count in _ngrams(text).items():
            rare = math.log(self.num_clips) - math.log(max(1, self._clips_with[ngram]))
            weights[len(ngram) - 1][ngram] = count * rare
        norms = [math.sqrt(sum(w * w for w in own.values())) for own in weights]
        return _Vector(weights, norms, len(text.split()))


def _alike(said: _Vector, wanted: _Vector) -> float:
    """Mean over n of the clipped cosines, times the penalty of the lengths' difference; 0 to 1."""
    total = 0.0
    for n in range(_ORDER):
        norm = said.norms[n] * wanted.norms[n]
        theirs = wanted.weights[n]
        # Never in the order of a set: the last bits of a sum depend on it.
        common = (min(w, theirs[g]) * theirs[g] for g, w in said.weights[n].items() if g in theirs)
        total += sum(common) / norm if norm else 0.0
    apart = said.num_words - wanted.num_words
    return total / _ORDER * math.exp(-(apart**2) / (2 * _SIGMA**2))


def _ngrams(text: str) -> Counter[Ngram]:
    """All n-grams of a tokenised text."""
    words = text.split()
    return Counter(
        tuple(words[i : i + n]) for n in range(1, _ORDER + 1) for i in range(len(words) - n + 1)
    )
