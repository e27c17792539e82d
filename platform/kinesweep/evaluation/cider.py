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

from kinesweep.evaluation.ngrams import Ngram, count_ngrams
from kinesweep.evaluation.segment_metric import SegmentMeanMetric

# Order, sigma and scale are the values of the paper.
_ORDER = 4
_SIGMA = 6.0
_SCALE = 10.0


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


class _TfidfVectors(NamedTuple):
    """The TF-IDF vectors of one text, one for each n from 1 to 4.

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
        hypothesis_vectors = self._build_vectors(hypothesis)
        similarities = [
            _compute_similarity(hypothesis_vectors, self._build_vectors(reference))
            for reference in references
        ]
        return _SCALE * sum(similarities) / len(references)

    def _cache_references(self, references: Sequence[Sequence[str]]) -> list[Any]:
        """Tokenize the references and set the number of clips and the document frequencies.

        Args:
            references: Reference streams: one list for each reference number, as sacreBLEU expects.

        Returns:
            For each clip, the information from `_extract_reference_info`.
        """
        cached_clips = super()._cache_references(references)
        self.num_clips = len(cached_clips)
        self._document_frequencies = Counter()
        for clip in cached_clips:
            # A set for each clip: an n-gram counts once per clip, in whichever reference it occurs.
            self._document_frequencies.update(
                {
                    ngram
                    for text in clip["references"]
                    for ngram in count_ngrams(text.split(), _ORDER)
                }
            )
        return cached_clips

    def _build_vectors(self, text: str) -> _TfidfVectors:
        """Build the TF-IDF vectors of a tokenized text, one for each n."""
        weights: list[dict[Ngram, float]] = [{} for _ in range(_ORDER)]
        words = text.split()
        for ngram, count in count_ngrams(words, _ORDER).items():
            # The maximum with 1 covers n-grams that occur in no reference.
            idf = math.log(self.num_clips) - math.log(max(1, self._document_frequencies[ngram]))
            weights[len(ngram) - 1][ngram] = count * idf
        norms = [
            math.sqrt(sum(weight * weight for weight in ngram_weights.values()))
            for ngram_weights in weights
        ]
        return _TfidfVectors(weights, norms, len(words))


def _compute_similarity(hypothesis: _TfidfVectors, reference: _TfidfVectors) -> float:
    """Compute the clipped cosine similarity averaged over n, times the length penalty; 0 to 1."""
    cosine_sum = 0.0
    for n in range(_ORDER):
        norm = hypothesis.norms[n] * reference.norms[n]
        reference_weights = reference.weights[n]
        # Iterate over the dict, never over a set: the last bits of a floating-point sum depend on
        # the order, and the order of a set changes between processes.
        clipped_products = (
            min(weight, reference_weights[ngram]) * reference_weights[ngram]
            for ngram, weight in hypothesis.weights[n].items()
            if ngram in reference_weights
        )
        # The norm is 0 if a text has no n-gram of this order, or only those that occur in every
        # clip.
        cosine_sum += sum(clipped_products) / norm if norm else 0.0
    length_difference = hypothesis.num_words - reference.num_words
    return cosine_sum / _ORDER * math.exp(-(length_difference**2) / (2 * _SIGMA**2))
