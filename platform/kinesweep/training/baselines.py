"""What a score is worth: baselines that have learnt nothing.

A model that does not beat the best constant sentence has found out how sentences look, not what is
signed. The most frequent sentence is the humbler one: it knows train alone, where the best one was
chosen by the very references that it is scored on, and by BLEU, whatever it is scored in.

Every distinct sentence of train is tried as the best constant, exactly and at once: an n-gram's
clipped matches against all references are counted once, so a candidate costs its own length (8,000
candidates in about 2 s). Longer texts put together for the purpose could score more; they are not
tried.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

from kinesweep.core.recipe.evaluation import Protocol
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store
from kinesweep.training.protocol import treat
from kinesweep.training.scoring import RAW, score

_ORDER = 4
Ngram = tuple[str, ...]


def constant_sentence(
    candidates: Sequence[str],
    references: Mapping[str, Sequence[str]],
    protocol: Protocol = RAW,
) -> tuple[str, float]:
    """The candidate that scores the most BLEU as the answer to every clip, and its score.

    Args:
        candidates: sentences, usually those of train; repeats cost nothing.
        references: clip id → sentences.
        protocol: under which they are scored.
    """
    bleu = BLEU(force=True, tokenize=protocol.tokenize)

    def words(text: str) -> list[str]:
        return str(bleu._preprocess_segment(treat(text, protocol))).split()

    table = _ClippedMatches([[words(r) for r in refs] for refs in references.values()])
    best, best_score = "", -1.0
    for candidate in sorted(set(candidates)):
        value = table.bleu(bleu, words(candidate))
        if value > best_score:
            best, best_score = candidate, value
    exact = score(dict.fromkeys(references, best), references, ["bleu"], protocol)
    return best, exact.values["bleu"]


def most_frequent(texts: Iterable[str]) -> str:
    """The sentence that stands there most often; of equal ones the first by the alphabet."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text))


def nearest_neighbours(
    store: Store, train: Sequence[ClipRecord], wanted: Sequence[ClipRecord]
) -> dict[str, str]:
    """For each wanted clip the first text of the train clip whose mean features are most alike.

    Features are averaged over time, centred on train's mean (else every pose resembles every
    other) and compared by the cosine; of equal ones the first in train wins.
    """
    train_ND, wanted_MD = _pooled(store, train), _pooled(store, wanted)
    mean_D = train_ND.mean(axis=0)
    alike_MN = _unit(wanted_MD - mean_D) @ _unit(train_ND - mean_D).T
    nearest_M = alike_MN.argmax(axis=1)
    pairs = zip(wanted, nearest_M, strict=True)
    return {record.clip.id: train[index].clip.texts[0] for record, index in pairs}


class _ClippedMatches:
    """Matches of an n-gram against all clips, clipped as BLEU does, for any count of it.

    Args:
        references: for each clip, its tokenised references.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        # n-gram → how often a clip's references hold it at the most → number of such clips
        self._clips: dict[Ngram, Counter[int]] = defaultdict(Counter)
        self._lengths = [[len(words) for words in refs] for refs in references]
        self._closest: dict[int, int] = {}
        for refs in references:
            most: Counter[Ngram] = Counter()
            for words in refs:
                most |= _ngrams(words)
            for ngram, count in most.items():
                self._clips[ngram][count] += 1

    def bleu(self, metric: BLEU, words: Sequence[str]) -> float:
        """Corpus BLEU of a sentence given as the answer to every clip."""
        num_clips = len(self._lengths)
        correct = [0] * _ORDER
        total = [max(0, len(words) - n) * num_clips for n in range(_ORDER)]
        for ngram, count in _ngrams(words).items():
            found: Mapping[int, int] = self._clips.get(ngram, {})
            correct[len(ngram) - 1] += sum(min(count, there) * n for there, n in found.items())
        sizes = [len(words) * num_clips, self._reference_length(metric, len(words))]
        return float(metric._compute_score_from_stats([*sizes, *correct, *total]).score)

    def _reference_length(self, metric: BLEU, length: int) -> int:
        """Sum over clips of the reference length closest to a hypothesis's."""
        if length not in self._closest:
            closest = (metric._get_closest_ref_len(length, sizes) for sizes in self._lengths)
            self._closest[length] = sum(closest)
        return self._closest[length]


def _ngrams(words: Sequence[str]) -> Counter[Ngram]:
    """All n-grams up to BLEU's order."""
    return Counter(
        tuple(words[i : i + n]) for n in range(1, _ORDER + 1) for i in range(len(words) - n + 1)
    )


def _pooled(store: Store, records: Sequence[ClipRecord]) -> NDArray[np.float32]:
    """Mean over time of all streams of each clip, side by side."""
    rows = [
        np.concatenate([x_TD.mean(axis=0, dtype=np.float32) for x_TD in streams.values()])
        for streams in map(store.features, records)
    ]
    return np.stack(rows)


def _unit(x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays."""
    norms_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.maximum(norms_N1, np.float32(1e-12))
