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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.schema import StreamSchema
from kinesweep.evaluation.frame_thumbnails import count_thumbnail_values, make_thumbnail
from kinesweep.evaluation.ngrams import Ngram, count_ngrams
from kinesweep.evaluation.scoring import RAW_PROTOCOL, compute_scores
from kinesweep.evaluation.text_normalization import normalize_hypothesis, normalize_text
from kinesweep.evaluation.tokenization.protocol import resolve_protocol_by_references
from kinesweep.evaluation.tokenization.tokenizers import create_bleu, find_bleu_order
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

_NUM_TOKEN_PLACES = 4096
# Maximum n-gram order of BLEU-4; less if all references are shorter.
_MAX_ORDER = 4


def find_best_constant_sentence(
    candidates: Sequence[str],
    references: Mapping[str, Sequence[str]],
    protocol: ScoringProtocol = RAW_PROTOCOL,
) -> tuple[str, float]:
    """Find the sentence with the highest BLEU as the hypothesis for every clip.

    Args:
        candidates: Candidate sentences, usually those of train; at least one, duplicates cost
            nothing.
        references: Clip id → reference sentences; at least one clip.
        protocol: Normalization of candidates and references.

    Returns:
        The sentence and its BLEU score, 0 to 100; ties go to the first in alphabetical order.
    """
    protocol = resolve_protocol_by_references(protocol, references)
    normalized_references = [
        [normalize_text(reference, protocol) for reference in clip_references]
        for clip_references in references.values()
    ]
    all_references = (text for texts in normalized_references for text in texts)
    bleu = create_bleu(
        protocol.tokenize, find_bleu_order(protocol.tokenize, all_references, _MAX_ORDER)
    )

    def tokenize(normalized_text: str) -> list[str]:
        """Split a normalized text into words."""
        # This private method applies exactly the tokenization of `corpus_score`.
        return str(bleu._preprocess_segment(normalized_text)).split()

    ngram_index = _ClippedNgramIndex(
        [[tokenize(text) for text in texts] for texts in normalized_references],
        bleu.max_ngram_order,
    )
    # Below every possible score, so that a candidate with a BLEU of 0 can be the best one.
    best_sentence, best_score = "", -1.0
    # Sorted, so that ties do not depend on the order of the set.
    for candidate in sorted(set(candidates)):
        words = tokenize(normalize_hypothesis(candidate, protocol))
        score = ngram_index.compute_bleu(bleu, words)
        if score > best_score:
            best_sentence, best_score = candidate, score
    # Score the best sentence once more with `compute_scores`, so that the value equals a reported
    # one exactly.
    constant_hypotheses = dict.fromkeys(references, best_sentence)
    exact_scores = compute_scores(constant_hypotheses, references, ["bleu"], protocol)
    return best_sentence, exact_scores.values["bleu"]


def find_most_frequent_sentence(texts: Iterable[str]) -> str:
    """Find the most frequent of the texts; ties go to the first in alphabetical order."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text))


def predict_nearest_neighbors(
    store: Store, train_records: Sequence[ClipRecord], query_records: Sequence[ClipRecord]
) -> dict[str, str]:
    """Predict for each clip the first text of the training clip with the most similar features.

    Features, or pictures reduced to 16 × 16 pixels, are averaged over time and centered on the mean
    of train, because otherwise all poses resemble each other. They are compared by cosine
    similarity; ties go to the first clip in train.

    Args:
        store: Feature store of both sets of clips.
        train_records: Training clips, whose texts are copied.
        query_records: Clips for which a text is predicted.

    Returns:
        Clip id → predicted text, for the clips of `query_records`.
    """
    train_ND = _average_over_time(store, train_records)
    query_MD = _average_over_time(store, query_records)
    mean_D = train_ND.mean(axis=0)
    similarity_MN = _normalize_rows(query_MD - mean_D) @ _normalize_rows(train_ND - mean_D).T
    nearest_M = similarity_MN.argmax(axis=1)
    return {
        record.clip.id: train_records[index].clip.texts[0]
        for record, index in zip(query_records, nearest_M, strict=True)
    }


class _ClippedNgramIndex:
    """An index of the n-gram counts in all references, for BLEU scores of constant sentences.

    Args:
        references: For each clip, the words of each of its references.
        order: Maximum n-gram order.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]], order: int) -> None:
        self._order = order
        # n-gram → highest count in the references of one clip → number of clips with that count. A
        # candidate's n-gram is looked up once here, not once for each clip.
        self._num_clips_by_count: dict[Ngram, Counter[int]] = defaultdict(Counter)
        self._reference_lengths = [
            [len(words) for words in clip_references] for clip_references in references
        ]
        self._reference_length_cache: dict[int, int] = {}
        for clip_references in references:
            max_counts: Counter[Ngram] = Counter()
            for words in clip_references:
                # Union of counters: the maximum over the references, as BLEU clips.
                max_counts |= count_ngrams(words, self._order)
            for ngram, count in max_counts.items():
                self._num_clips_by_count[ngram][count] += 1

    def compute_bleu(self, metric: BLEU, words: Sequence[str]) -> float:
        """Compute the corpus BLEU, 0 to 100, of one sentence as the hypothesis for every clip.

        Args:
            metric: BLEU metric, which converts the summed counts to a score.
            words: Words of the sentence.
        """
        num_clips = len(self._reference_lengths)
        num_matches = [0] * self._order
        num_ngrams = [max(0, len(words) - n) * num_clips for n in range(self._order)]
        for ngram, count in count_ngrams(words, self._order).items():
            clips_by_count: Mapping[int, int] = self._num_clips_by_count.get(ngram, {})
            num_matches[len(ngram) - 1] += sum(
                min(count, reference_count) * n for reference_count, n in clips_by_count.items()
            )
        lengths = [len(words) * num_clips, self._sum_closest_reference_lengths(metric, len(words))]
        return float(metric._compute_score_from_stats([*lengths, *num_matches, *num_ngrams]).score)

    def _sum_closest_reference_lengths(self, metric: BLEU, length: int) -> int:
        """Return the sum over clips of the reference length that is closest to a length.

        Args:
            metric: BLEU metric, which breaks ties between references.
            length: Number of words of the hypothesis.
        """
        if length not in self._reference_length_cache:
            self._reference_length_cache[length] = sum(
                metric._get_closest_ref_len(length, clip_lengths)
                for clip_lengths in self._reference_lengths
            )
        return self._reference_length_cache[length]


def _average_over_time(store: Store, records: Sequence[ClipRecord]) -> NDArray[np.float32]:
    """Average the features of each clip over time and concatenate those of its streams.

    The mean picture of a stream of frames is reduced to a thumbnail: the 150,000 values of each of
    10,000 clips would take 6 GB.

    Returns:
        One row for each clip, (clips, sum of the streams' widths).
    """
    clip_rows = []
    for streams in map(store.get_features, records):
        # A stream that the clip lacks is zero: it adds nothing to the similarity before centering.
        averages = [
            _summarize_stream(streams[name], schema)
            if name in streams
            else np.zeros(_count_summary_values(schema), np.float32)
            for name, schema in store.schema.streams.items()
        ]
        clip_rows.append(np.concatenate(averages))
    return np.stack(clip_rows)


def _summarize_stream(x_TD: NDArray[Any], schema: StreamSchema) -> NDArray[np.float32]:
    """Summarize a stream of a clip as one vector: its mean, or the frequencies of token ids.

    Ids share a fixed number of places, so that the vector is short for any vocabulary. The mean of
    pictures is reduced to a thumbnail.
    """
    if x_TD.dtype.kind != "i":
        mean_D = np.asarray(x_TD.mean(axis=0, dtype=np.float32))
        size = schema.frame_size
        return mean_D if size is None else make_thumbnail(mean_D, size)
    # Ids that share a place are told apart less well, which a baseline can afford.
    counts = np.bincount(x_TD[:, 0] % _NUM_TOKEN_PLACES, minlength=_NUM_TOKEN_PLACES)
    return (counts / len(x_TD)).astype(np.float32)


def _count_summary_values(schema: StreamSchema) -> int:
    """Return the length of the vector that `_summarize_stream` makes of a stream."""
    if schema.frame_size is not None:
        return count_thumbnail_values(schema.frame_size)
    return _NUM_TOKEN_PLACES if np.dtype(schema.dtype).kind == "i" else schema.width


def _normalize_rows(x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row to Euclidean length 1; a row of zeros stays zero."""
    norms_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    # A clip that equals the mean has the norm 0; its similarities become 0 instead of NaN.
    return x_ND / np.maximum(norms_N1, np.float32(1e-12))
