"""CIDEr-D as a sacreBLEU metric, with a signature and support for bootstrap resampling.

Hypothesis and reference are TF-IDF vectors of n-grams (n = 1 to 4). The score is their cosine
similarity, with the hypothesis counts clipped to those of the reference, times a penalty for the
length difference, averaged over n and over ALL references of a clip (Vedantam et al. 2015,
arxiv.org/abs/1411.5726, section 5; sigma 6; counts are not normalized, as in the COCO caption
evaluation code). With the factor of 10 of that code and the usual factor of 100, a good captioning
corpus scores about 120, and a corpus whose hypotheses equal their only references scores 1000. The
score is not a percentage.

The IDF weight is the logarithm of the number of scored clips over the number of clips whose
references contain the n-gram. A score therefore belongs to the set of clips on which it was
computed; their number is part of the signature. A split of one clip scores 0, and a resample keeps
the IDF weights of the whole set. Published scores use lower-cased text without punctuation;
`evaluation.protocol: {case: lower, punctuation: drop}` is the closest match. A clip with three
references of a dozen words takes 0.6 ms.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from sacrebleu.metrics.base import Signature

from kinesweep.evaluation.segment_metric import SegmentMeanMetric

# Order, sigma and scale are the values of the paper.
_ORDER = 4
_SIGMA = 6.0
_SCALE = 10.0

Ngram = tuple[str, ...]


class _CiderSignature(Signature):
    """A signature that adds the CIDEr settings to the standard sacreBLEU fields."""

    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"d": "d", "n": "n", "sigma": "s", "idf": "i", "tok": "tok"}
        self.info |= {"d": "yes", "n": _ORDER, "sigma": int(_SIGMA)}
        self.info |= {
            "idf": f"refs-of-{args['num_clips']}-clips",
            "tok": args["tokenizer_signature"],
        }


class _TfidfVector(NamedTuple):
    """The TF-IDF vectors of one text.

    Attributes:
        weights: For each n, n-gram → weight.
        norms: For each n, Euclidean norm of the vector.
        num_words: Number of words in the text.
    """

    weights: list[dict[Ngram, float]]
    norms: list[float]
    num_words: int


class Cider(SegmentMeanMetric):
    """The CIDEr-D metric.

    Args:
        tokenize: Name of a sacreBLEU tokenizer.

    Attributes:
        num_clips: Number of clips from which the IDF weights are computed.
    """

    _SIGNATURE_TYPE = _CiderSignature

    def __init__(self, tokenize: str) -> None:
        super().__init__("cider", tokenize)
        self.num_clips = 0
        self._document_frequencies: Counter[Ngram] = Counter()

    def compute_clip_score(self, hypothesis: str, references: Sequence[str]) -> float:
        """Compute the mean CIDEr-D over the references, 0 to 10; an empty hypothesis scores 0."""
        hypothesis_vector = self._build_vector(hypothesis)
        return (
            _SCALE
            * sum(_compute_similarity(hypothesis_vector, self._build_vector(r)) for r in references)
            / len(references)
        )

    def _cache_references(self, references: Sequence[Sequence[str]]) -> list[Any]:
        """Preprocess the references and compute the document frequencies from them."""
        cache = super()._cache_references(references)
        self.num_clips = len(cache)
        self._document_frequencies = Counter()
        for clip in cache:
            # A set for each clip: an n-gram counts once per clip, in whichever reference it occurs.
            self._document_frequencies.update(
                {g for text in clip["references"] for g in _count_ngrams(text)}
            )
        return cache

    def _build_vector(self, text: str) -> _TfidfVector:
        """Build the TF-IDF vectors of a tokenized text."""
        weights: list[dict[Ngram, float]] = [{} for _ in range(_ORDER)]
        for ngram, count in _count_ngrams(text).items():
            # The maximum with 1 covers n-grams that occur in no reference.
            idf = math.log(self.num_clips) - math.log(max(1, self._document_frequencies[ngram]))
            weights[len(ngram) - 1][ngram] = count * idf
        norms = [math.sqrt(sum(w * w for w in ngram_weights.values())) for ngram_weights in weights]
        return _TfidfVector(weights, norms, len(text.split()))


def _compute_similarity(hypothesis: _TfidfVector, reference: _TfidfVector) -> float:
    """Compute the clipped cosine similarity averaged over n, times the length penalty; 0 to 1."""
    total = 0.0
    for n in range(_ORDER):
        norm = hypothesis.norms[n] * reference.norms[n]
        reference_weights = reference.weights[n]
        # Iterate over the dict, never over a set: the last bits of a floating-point sum depend on
        # the order, and the order of a set changes between processes.
        common = (
            min(w, reference_weights[g]) * reference_weights[g]
            for g, w in hypothesis.weights[n].items()
            if g in reference_weights
        )
        total += sum(common) / norm if norm else 0.0
    length_difference = hypothesis.num_words - reference.num_words
    return total / _ORDER * math.exp(-(length_difference**2) / (2 * _SIGMA**2))


def _count_ngrams(text: str) -> Counter[Ngram]:
    """Count all n-grams of a tokenized text up to the maximum order."""
    words = text.split()
    return Counter(
        tuple(words[i : i + n]) for n in range(1, _ORDER + 1) for i in range(len(words) - n + 1)
    )
