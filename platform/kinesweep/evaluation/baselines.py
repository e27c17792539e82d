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
from kinesweep.evaluation.scoring import RAW, score
from kinesweep.evaluation.text_normalization import normalize
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

# Maximum n-gram order of BLEU-4.
_ORDER = 4
Ngram = tuple[str, ...]


def constant_sentence(
    candidates: Sequence[str],
    references: Mapping[str, Sequence[str]],
    protocol: ScoringProtocol = RAW,
) -> tuple[str, float]:
    """Return the sentence with the highest BLEU as the answer to every clip, and its score.

    Args:
        candidates: Candidate sentences, usually those of train; duplicates cost nothing.
        references: Clip id → reference sentences.
        protocol: Scoring protocol.
    """
    bleu = BLEU(force=True, tokenize=protocol.tokenize)

    def words(text: str) -> list[str]:
        # This private method applies exactly the tokenization of `corpus_score`.
        return str(bleu._preprocess_segment(normalize(text, protocol))).split()

    table = _ClippedMatches([[words(r) for r in refs] for refs in references.values()])
    best, best_score = "", -1.0
    # Sorted, so that ties do not depend on the order of the set.
    for candidate in sorted(set(candidates)):
        value = table.bleu(bleu, words(candidate))
        if value > best_score:
            best, best_score = candidate, value
    # Score the winner once more with `score`, so that the value equals a reported one exactly.
    exact = score(dict.fromkeys(references, best), references, ["bleu"], protocol)
    return best, exact.values["bleu"]


def most_frequent(texts: Iterable[str]) -> str:
    """Return the most frequent sentence; ties go to the first in alphabetical order."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text))


def nearest_neighbours(
    store: Store, train: Sequence[ClipRecord], wanted: Sequence[ClipRecord]
) -> dict[str, str]:
    """Return, for each clip, the first text of the training clip with the most similar features.

    Features are averaged over time and centered on the mean of train, because otherwise all poses
    resemble each other. They are compared by cosine similarity; ties go to the first clip in train.

    Args:
        store: Feature store of both sets of clips.
        train: Clips whose texts are copied.
        wanted: Clips that need a text.

    Returns:
        Clip id → text.
    """
    train_ND, wanted_MD = _pooled(store, train), _pooled(store, wanted)
    mean_D = train_ND.mean(axis=0)
    alike_MN = _unit(wanted_MD - mean_D) @ _unit(train_ND - mean_D).T
    nearest_M = alike_MN.argmax(axis=1)
    pairs = zip(wanted, nearest_M, strict=True)
    return {record.clip.id: train[index].clip.texts[0] for record, index in pairs}


class _ClippedMatches:
    """An index of clipped n-gram matches against all clips, as BLEU counts them.

    Args:
        references: For each clip, its tokenized references.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        # n-gram → highest count in the references of one clip → number of clips with that count. A
        # candidate's n-gram is looked up once here, not once for each clip.
        self._clips: dict[Ngram, Counter[int]] = defaultdict(Counter)
        self._lengths = [[len(words) for words in refs] for refs in references]
        self._closest: dict[int, int] = {}
        for refs in references:
            most: Counter[Ngram] = Counter()
            for words in refs:
                # Union of counters: the maximum over the references, as BLEU clips.
                most |= _ngrams(words)
            for ngram, count in most.items():
                self._clips[ngram][count] += 1

    def bleu(self, metric: BLEU, words: Sequence[str]) -> float:
        """Return the corpus BLEU of one sentence as the answer to every clip."""
        num_clips = len(self._lengths)
        correct = [0] * _ORDER
        total = [max(0, len(words) - n) * num_clips for n in range(_ORDER)]
        for ngram, count in _ngrams(words).items():
            found: Mapping[int, int] = self._clips.get(ngram, {})
            correct[len(ngram) - 1] += sum(min(count, there) * n for there, n in found.items())
        sizes = [len(words) * num_clips, self._reference_length(metric, len(words))]
        return float(metric._compute_score_from_stats([*sizes, *correct, *total]).score)

    def _reference_length(self, metric: BLEU, length: int) -> int:
        """Return the sum over clips of the reference length closest to the hypothesis length."""
        if length not in self._closest:
            closest = (metric._get_closest_ref_len(length, sizes) for sizes in self._lengths)
            self._closest[length] = sum(closest)
        return self._closest[length]


def _ngrams(words: Sequence[str]) -> Counter[Ngram]:
    """Count all n-grams up to BLEU's maximum order."""
    return Counter(
        tuple(words[i : i + n]) for n in range(1, _ORDER + 1) for i in range(len(words) - n + 1)
    )


def _pooled(store: Store, records: Sequence[ClipRecord]) -> NDArray[np.float32]:
    """Return the time-averaged features of each clip, streams concatenated; (clips, values)."""
    rows = [
        np.concatenate([x_TD.mean(axis=0, dtype=np.float32) for x_TD in streams.values()])
        for streams in map(store.features, records)
    ]
    return np.stack(rows)


def _unit(x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalize each row to length 1; a row of zeros stays zero."""
    norms_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.maximum(norms_N1, np.float32(1e-12))
