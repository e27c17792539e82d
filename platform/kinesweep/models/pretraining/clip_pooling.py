"""Embeddings of clips from those of their windows, and numbers of texts.

Shapes: B windows, N clips, E width of an embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kinesweep.core.seeds import derive_seed
from kinesweep.models.retrieval.pair_ranks import RetrievalRanks, rank_pairs

# A text's number has 63 bits, but values of validation are float32, exact up to 24 bits.
_ID_BITS, _NUM_ID_PARTS = 21, 3


@dataclass(frozen=True)
class PooledClips:
    """Embeddings of clips and of their texts.

    Attributes:
        clip_ids: Clip of each row.
        video_NE: Unit vectors of the clips.
        text_NE: Unit vectors of their texts.
        text_ids_N: Number of each text.
    """

    clip_ids: list[str]
    video_NE: NDArray[np.float32]
    text_NE: NDArray[np.float32]
    text_ids_N: NDArray[np.int64]

    def rank(self) -> RetrievalRanks:
        """Rank the texts for each clip and the clips for each text."""
        return rank_pairs(self.video_NE, self.text_NE, self.text_ids_N)


def pool_clips(values: Mapping[str, Tensor], clip_ids: Sequence[str]) -> PooledClips:
    """Average the embeddings of each clip's windows and scale them to unit length.

    Args:
        values: `video` and `text` (B, E), and `text_id` from `split_numbers`, of all windows.
        clip_ids: Clip of each window.
    """
    rows: dict[str, list[int]] = {}
    for row, clip_id in enumerate(clip_ids):
        rows.setdefault(clip_id, []).append(row)
    video_NE = torch.stack([values["video"][indices].mean(dim=0) for indices in rows.values()])
    # All windows of a clip have the same text.
    firsts = [indices[0] for indices in rows.values()]
    text_ids_N = _join_numbers(values["text_id"][firsts]).numpy()
    # Beside texts of other lengths the last bits of an embedding differ; one is used for all.
    _, first_M, inverse_N = np.unique(text_ids_N, return_index=True, return_inverse=True)
    text_NE = values["text"][firsts].numpy()[first_M[inverse_N]]
    return PooledClips(
        list(rows), functional.normalize(video_NE, dim=1).numpy(), text_NE, text_ids_N
    )


def number_texts(texts: Sequence[str]) -> Tensor:
    """Return a number for each text, int64 (B,), the same for equal texts in any process."""
    return torch.tensor([derive_seed("text", text) for text in texts])


def split_numbers(numbers_B: Tensor) -> Tensor:
    """Split numbers of 63 bits into parts that float32 holds exactly, (B, 3)."""
    shifts = _ID_BITS * torch.arange(_NUM_ID_PARTS)
    return ((numbers_B[:, None] >> shifts) & (2**_ID_BITS - 1)).float()


def _join_numbers(parts_N3: Tensor) -> Tensor:
    """Join the parts of numbers, int64 (N,)."""
    shifts = _ID_BITS * torch.arange(_NUM_ID_PARTS)
    return (parts_N3.to(torch.int64) << shifts).sum(dim=1)
