"""Collation: pads clips into a `Batch`. Features and tokens are padded only here.

Shapes: B clips, T frames, D width, P prompt tokens, A tokens after the frames, L target tokens,
F forced tokens, R references.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinesweep.core.batch import IGNORE, Batch


@dataclass(frozen=True)
class ClipTokens:
    """The tokens of a clip.

    Attributes:
        prompt: Tokens before the frames.
        forced: Decoder prompt only.
        labels: Decoder prompt, text and end of sentence.
        suffix: Tokens after the frames.
        alternative_labels: Labels of further references; the reference with the lowest loss is
            learned.
    """

    prompt: tuple[int, ...]
    forced: tuple[int, ...]
    labels: tuple[int, ...]
    suffix: tuple[int, ...] = ()
    alternative_labels: tuple[tuple[int, ...], ...] = ()

    @property
    def max_num_labels(self) -> int:
        """Number of labels of the longest reference."""
        return max(map(len, (self.labels, *self.alternative_labels)))


@dataclass(frozen=True)
class BatchItem:
    """A clip ready for collation: its id, stream → features (T, D), and its tokens."""

    clip_id: str
    streams: Mapping[str, NDArray[np.floating]]
    tokens: ClipTokens


def collate(items: Sequence[BatchItem], pad_id: int, zero_features: bool = False) -> Batch:
    """Collate clips into a batch: pad them on the right and stack them.

    Args:
        items: At least one clip; all have the same streams.
        pad_id: Token for padding prompts. Labels are padded with `IGNORE`.
        zero_features: Set all features to zero (a sanity baseline).
    """
    streams, masks = {}, {}
    for name in items[0].streams:
        streams[name], masks[name] = _pad_frames([row.streams[name] for row in items])
        if zero_features:
            streams[name].zero_()
    prompt_ids, prompt_mask = _pad_ids([row.tokens.prompt for row in items], pad_id)
    suffix_ids, suffix_mask = _pad_ids([row.tokens.suffix for row in items], pad_id)
    forced_ids, forced_mask = _pad_ids([row.tokens.forced for row in items], pad_id)
    labels, _ = _pad_ids([row.tokens.labels for row in items], IGNORE)
    return Batch(
        clip_ids=tuple(row.clip_id for row in items),
        streams=streams,
        frame_masks=masks,
        prompt_ids_BP=prompt_ids,
        prompt_mask_BP=prompt_mask,
        suffix_ids_BA=suffix_ids,
        suffix_mask_BA=suffix_mask,
        labels_BL=labels,
        forced_ids_BF=forced_ids,
        forced_mask_BF=forced_mask,
        labels_BRL=_pad_references(
            [(row.tokens.labels, *row.tokens.alternative_labels) for row in items]
        ),
    )


def _pad_frames(clips: Sequence[NDArray[np.floating]]) -> tuple[Tensor, Tensor]:
    """Pad features to float32 (B, T, D); also return the mask, bool (B, T)."""
    lengths = [len(x_TD) for x_TD in clips]
    # Stores may hold half precision; the copy into this array converts to float32.
    x_BTD = np.zeros((len(clips), max(lengths), clips[0].shape[1]), np.float32)
    for x_TD, row_TD in zip(clips, x_BTD, strict=True):
        row_TD[: len(x_TD)] = x_TD
    return torch.from_numpy(x_BTD), _make_mask(lengths)


def _pad_ids(rows: Sequence[Sequence[int]], fill_id: int) -> tuple[Tensor, Tensor]:
    """Pad token ids to int64 (B, longest); also return the mask, bool of the same shape."""
    lengths = [len(row) for row in rows]
    longest = max(lengths)
    padded = [[*row, *[fill_id] * (longest - len(row))] for row in rows]
    # Without the reshape, rows that are all empty would give a tensor of shape (B,).
    return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), longest), _make_mask(lengths)


def _pad_references(clips: Sequence[Sequence[Sequence[int]]]) -> Tensor | None:
    """Pad the labels of all references, int64 (B, R, L); None if no clip has a second one."""
    max_references = max(map(len, clips))
    if max_references == 1:
        return None
    # Clips with fewer references get empty rows, which consist of `IGNORE` only.
    flat = [
        labels
        for references in clips
        for labels in (*references, *[()] * (max_references - len(references)))
    ]
    return _pad_ids(flat, IGNORE)[0].unflatten(0, (len(clips), max_references))


def _make_mask(lengths: Sequence[int]) -> Tensor:
    """Make a mask, bool (B, longest), that is True for the first `lengths` entries."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
