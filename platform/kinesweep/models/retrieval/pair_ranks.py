"""Retrieval between videos and texts: recall at k and median rank in both directions.

A clip's own text is searched among the distinct texts, and its text among all clips, where every
clip with that text is a hit; scores are means over clips. Equal similarities count against the hit,
so a network that maps everything to one vector scores 0 and not 100. The expectations for random
ranks are returned as well: a recall says little without the number of candidates.

Shapes: N clips, M distinct texts, E width of an embedding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.scores import RECALL_RANKS
from kinesweep.models.retrieval.recall import compute_ranks


@dataclass(frozen=True)
class RetrievalRanks:
    """The ranks of clips in both directions, counted from 1.

    Attributes:
        video_to_text_N: Rank of each clip's text among the distinct texts.
        text_to_video_N: Best rank among all clips of a clip with the same text.
        num_texts: Number of distinct texts, M.
        clips_per_text_N: Number of clips with the text of each clip.
    """

    video_to_text_N: NDArray[np.int64]
    text_to_video_N: NDArray[np.int64]
    num_texts: int
    clips_per_text_N: NDArray[np.int64]

    def compute_scores(self) -> dict[str, float]:
        """Compute recalls in percent and median ranks, of both directions and their mean.

        Returns:
            `video_text_recall_k` and `text_video_recall_k` for k = 1, 5, 10, with
            `…_median_rank`; their means `recall_k` and `median_rank`; the expectations of the means
            for random ranks, `chance_recall_k` and `chance_median_rank`.
        """
        video, text = _score_ranks(self.video_to_text_N), _score_ranks(self.text_to_video_N)
        chance = _compute_chance(self.num_texts, self.clips_per_text_N)
        return {
            **{f"video_text_{name}": value for name, value in video.items()},
            **{f"text_video_{name}": value for name, value in text.items()},
            **{name: (video[name] + text[name]) / 2 for name in video},
            **{f"chance_{name}": value for name, value in chance.items()},
        }

    def list_recalls(self, cutoff: int) -> NDArray[np.float64]:
        """List the share of both directions in which each clip is found, in percent, (N,).

        Its mean is `recall_k` with k = `cutoff`.
        """
        hits_N = (self.video_to_text_N <= cutoff).astype(np.float64)
        return 50 * (hits_N + (self.text_to_video_N <= cutoff))


def rank_pairs(
    video_NE: NDArray[np.float32], text_NE: NDArray[np.float32], text_ids_N: NDArray[np.int64]
) -> RetrievalRanks:
    """Rank the texts for each video and the videos for each text.

    Args:
        video_NE: Unit vectors of the videos.
        text_NE: Unit vectors of their texts; equal texts have equal vectors.
        text_ids_N: Number of each text; equal texts have equal numbers.
    """
    _, first_M, text_N = np.unique(text_ids_N, return_index=True, return_inverse=True)
    # Products of float32 may depend on the shape of the matrix; float64 makes ties reproducible.
    similarity_NM = video_NE.astype(np.float64) @ text_NE[first_M].astype(np.float64).T
    is_hit_NM = text_N[:, None] == np.arange(len(first_M))
    return RetrievalRanks(
        compute_ranks(similarity_NM, is_hit_NM),
        # Hits never compete with each other, only with clips of other texts.
        compute_ranks(similarity_NM.T, is_hit_NM.T)[text_N],
        len(first_M),
        is_hit_NM.sum(axis=0)[text_N],
    )


def _score_ranks(ranks_N: NDArray[np.int64]) -> dict[str, float]:
    """Return the recalls in percent and the median of ranks counted from 1."""
    recalls = {f"recall_{k}": 100 * float((ranks_N <= k).mean()) for k in RECALL_RANKS}
    return {**recalls, "median_rank": float(np.median(ranks_N))}


def _compute_chance(num_texts: int, clips_per_text_N: NDArray[np.int64]) -> dict[str, float]:
    """Return the expected means of both directions if all ranks are random.

    Args:
        num_texts: Number of distinct texts.
        clips_per_text_N: Number of clips with the text of each clip.
    """
    num_clips = len(clips_per_text_N)
    # Texts with equally many clips have the same chances, which are computed once.
    counts, occurrences = np.unique(clips_per_text_N, return_counts=True)
    # Probability that the best clip of a text has rank r or better, for r = 0 … N.
    reached_R = np.average(
        [_list_hit_chances(num_clips, int(count)) for count in counts], axis=0, weights=occurrences
    )
    chance = {
        f"recall_{k}": 50 * (min(1.0, k / num_texts) + float(reached_R[min(k, num_clips)]))
        for k in RECALL_RANKS
    }
    median_text_rank = int(np.argmax(reached_R >= 0.5))
    return {**chance, "median_rank": ((num_texts + 1) / 2 + median_text_rank) / 2}


def _list_hit_chances(num_clips: int, num_hits: int) -> list[float]:
    """List the probability that one of `num_hits` clips is among the first r of N, r = 0 … N.

    It is 1 − C(N − r, m) / C(N, m), computed as a product, because factorials overflow.
    """
    chances, missed = [0.0], 1.0
    for position in range(num_clips):
        rest = num_clips - position
        missed *= max(0.0, (rest - num_hits) / rest)
        chances.append(1.0 - missed)
    return chances
