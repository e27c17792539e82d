"""Counts of word n-grams, which CIDEr and the search for the best constant sentence share."""

from collections import Counter
from collections.abc import Sequence

Ngram = tuple[str, ...]


def count_ngrams(words: Sequence[str], max_order: int) -> Counter[Ngram]:
    """Count all n-grams of a sequence of words.

    Args:
        words: Words of a text, in their order.
        max_order: Largest n; all n from 1 to `max_order` are counted.

    Returns:
        N-gram → number of occurrences, in order of n and then of first occurrence.
    """
    return Counter(
        tuple(words[i : i + n]) for n in range(1, max_order + 1) for i in range(len(words) - n + 1)
    )
