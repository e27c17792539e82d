"""Baselines that learn nothing, as reference points for a model's score.

A model that does not beat the best constant sentence has learned the style of the sentences but not
the meaning of the signs. The most frequent sentence is the weaker baseline: it uses only the
training split. The best constant sentence, in contrast, is selected on the references on which it
is scored, and always by BLEU, whatever the reported metric.

Every distinct sentence of train is tried exactly as the best constant. An n-gram's clipped matches
against all references are counted once, so the cost of a candidate depends only on its own length
(8,000 candidates in about 2 s). Longer texts composed to maximize the score could score higher;
they are not tried.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.evaluation.scoring import RAW_PROTOCOL, compute_scores
from kinesweep.evaluation.text_normalization import normalize_text
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

# Maximum n-gram order of BLEU-4.
_ORDER = 4
Ngram = tuple[str, ...]


def find_best_constant_sentence(
    candidates: Sequence[str],
    references: Mapping[str, Sequence[str]],
    protocol: ScoringProtocol = RAW_PROTOCOL,
) -> tuple[str, float]:
    """Find the sentence with the highest BLEU as the hypothesis for every clip.

    Args:
        candidates: Candidate sentences, usually those of train; duplicates cost nothing.
        references: Clip id → reference sentences.
        protocol: Scoring protocol.

    Returns:
        The sentence and its BLEU score.
    """
    bleu = BLEU(force=True, tokenize=protocol.tokenize)

    def tokenize(text: str) -> list[str]:
        """Normalize a text and split it into words."""
        # This private method applies exactly the tokenization of `corpus_score`.
        return str(bleu._preprocess_segment(normalize_text(text, protocol))).split()

    matches = _ClippedNgramIndex([[tokenize(r) for r in refs] for refs in references.values()])
    best, best_score = "", -1.0
    # Sorted, so that ties do not depend on the order of the set.
    for candidate in sorted(set(candidates)):
        value = matches.compute_bleu(bleu, tokenize(candidate))
        if value > best_score:
            best, best_score = candidate, value
    # Score the winner once more with `compute_scores`, so that the value equals a reported one
    # exactly.
    exact = compute_scores(dict.fromkeys(references, best), references, ["bleu"], protocol)
    return best, exact.values["bleu"]


def find_most_frequent_sentence(texts: Iterable[str]) -> str:
    """Find the most frequent sentence; ties go to the first in alphabetical order."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text))


def predict_nearest_neighbors(
    store: Store, train: Sequence[ClipRecord], queries: Sequence[ClipRecord]
) -> dict[str, str]:
    """Predict for each clip the first text of the training clip with the most similar features.

    Features are averaged over time and centered on the mean of train, because otherwise all poses
    resemble each other. They are compared by cosine similarity; ties go to the first clip in train.

    Args:
        store: Feature store of both sets of clips.
        train: Clips whose texts are copied.
        queries: Clips for which a text is predicted.

    Returns:
        Clip id → text.
    """
    train_ND, query_MD = _average_over_time(store, train), _average_over_time(store, queries)
    mean_D = train_ND.mean(axis=0)
    similarity_MN = _normalize_rows(query_MD - mean_D) @ _normalize_rows(train_ND - mean_D).T
    nearest_M = similarity_MN.argmax(axis=1)
    pairs = zip(queries, nearest_M, strict=True)
    return {record.clip.id: train[index].clip.texts[0] for record, index in pairs}


class _ClippedNgramIndex:
    """An index of clipped n-gram matches against all clips, as BLEU counts them.

    Args:
        references: For each clip, its tokenized references.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        # n-gram → highest count in the references of one clip → number of clips with that count. A
        # candidate's n-gram is looked up once here, not once for each clip.
        self._num_clips_by_count: dict[Ngram, Counter[int]] = defaultdict(Counter)
        self._lengths = [[len(words) for words in refs] for refs in references]
        self._reference_length_cache: dict[int, int] = {}
        for refs in references:
            max_counts: Counter[Ngram] = Counter()
            for words in refs:
                # Union of counters: the maximum over the references, as BLEU clips.
                max_counts |= _count_ngrams(words)
            for ngram, count in max_counts.items():
                self._num_clips_by_count[ngram][count] += 1

    def compute_bleu(self, metric: BLEU, words: Sequence[str]) -> float:
        """Compute the corpus BLEU of one sentence as the hypothesis for every clip."""
        num_clips = len(self._lengths)
        correct = [0] * _ORDER
        total = [max(0, len(words) - n) * num_clips for n in range(_ORDER)]
        for ngram, count in _count_ngrams(words).items():
            clips_by_count: Mapping[int, int] = self._num_clips_by_count.get(ngram, {})
            correct[len(ngram) - 1] += sum(
                min(count, reference_count) * n for reference_count, n in clips_by_count.items()
            )
        sizes = [len(words) * num_clips, self._get_reference_length(metric, len(words))]
        return float(metric._compute_score_from_stats([*sizes, *correct, *total]).score)

    def _get_reference_length(self, metric: BLEU, length: int) -> int:
        """Return the sum over clips of the reference length closest to the hypothesis length."""
        if length not in self._reference_length_cache:
            closest = (metric._get_closest_ref_len(length, sizes) for sizes in self._lengths)
            self._reference_length_cache[length] = sum(closest)
        return self._reference_length_cache[length]


def _count_ngrams(words: Sequence[str]) -> Counter[Ngram]:
    """Count all n-grams up to BLEU's maximum order."""
    return Counter(
        tuple(words[i : i + n]) for n in range(1, _ORDER + 1) for i in range(len(words) - n + 1)
    )


def _average_over_time(store: Store, records: Sequence[ClipRecord]) -> NDArray[np.float32]:
    """Average the features of each clip over time and concatenate its streams; (clips, values)."""
    rows = [
        np.concatenate([x_TD.mean(axis=0, dtype=np.float32) for x_TD in streams.values()])
        for streams in map(store.get_features, records)
    ]
    return np.stack(rows)


def _normalize_rows(x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalize each row to length 1; a row of zeros stays zero."""
    norms_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.maximum(norms_N1, np.float32(1e-12))
