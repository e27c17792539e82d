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
class Tokens:
    """The tokens of a clip.

    Attributes:
        prompt: Tokens before the frames.
        forced: Decoder prompt only.
        labels: Decoder prompt, text and end of sentence.
        after: Tokens after the frames.
        others: Labels of further references; the model learns the closest reference.
    """

    prompt: tuple[int, ...]
    forced: tuple[int, ...]
    labels: tuple[int, ...]
    after: tuple[int, ...] = ()
    others: tuple[tuple[int, ...], ...] = ()

    @property
    def most_labels(self) -> int:
        """Number of labels of the longest reference."""
        return max(map(len, (self.labels, *self.others)))


@dataclass(frozen=True)
class Item:
    """A clip ready for collation: its id, stream → features (T, D), and its tokens."""

    clip_id: str
    streams: Mapping[str, NDArray[np.floating]]
    tokens: Tokens


def collate(rows: Sequence[Item], pad_id: int, blank: bool = False) -> Batch:
    """Pad rows on the right and stack them.

    Args:
        rows: At least one row; all have the same streams.
        pad_id: Token for padding prompts. Labels are padded with `IGNORE`.
        blank: Set all features to zero (a sanity baseline).
    """
    streams, masks = {}, {}
    for name in rows[0].streams:
        streams[name], masks[name] = _frames([row.streams[name] for row in rows])
        if blank:
            streams[name].zero_()
    prompt_ids, prompt_mask = _ids([row.tokens.prompt for row in rows], pad_id)
    suffix_ids, after_mask = _ids([row.tokens.after for row in rows], pad_id)
    forced_ids, forced_mask = _ids([row.tokens.forced for row in rows], pad_id)
    labels, _ = _ids([row.tokens.labels for row in rows], IGNORE)
    return Batch(
        clip_ids=tuple(row.clip_id for row in rows),
        streams=streams,
        frame_masks=masks,
        prompt_ids_BP=prompt_ids,
        prompt_mask_BP=prompt_mask,
        after_ids_BA=suffix_ids,
        after_mask_BA=after_mask,
        labels_BL=labels,
        forced_ids_BF=forced_ids,
        forced_mask_BF=forced_mask,
        labels_BRL=_pad_references([(row.tokens.labels, *row.tokens.others) for row in rows]),
    )


def _frames(clips: Sequence[NDArray[np.floating]]) -> tuple[Tensor, Tensor]:
    """Return features, float32 (B, T, D), and mask, bool (B, T)."""
    lengths = [len(x_TD) for x_TD in clips]
    # Stores may hold half precision; the copy into this array converts to float32.
    x_BTD = np.zeros((len(clips), max(lengths), clips[0].shape[1]), np.float32)
    for x_TD, row_TD in zip(clips, x_BTD, strict=True):
        row_TD[: len(x_TD)] = x_TD
    return torch.from_numpy(x_BTD), _mask(lengths)


def _ids(rows: Sequence[Sequence[int]], fill: int) -> tuple[Tensor, Tensor]:
    """Return ids, int64 (B, longest), and mask, bool of the same shape."""
    lengths = [len(row) for row in rows]
    longest = max(lengths)
    padded = [[*row, *[fill] * (longest - len(row))] for row in rows]
    # Without the reshape, rows that are all empty would give a tensor of shape (B,).
    return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), longest), _mask(lengths)


def _pad_references(clips: Sequence[Sequence[Sequence[int]]]) -> Tensor | None:
    """Pad the labels of all references, int64 (B, R, L); None if no clip has a second one."""
    most = max(map(len, clips))
    if most == 1:
        return None
    # Clips with fewer references get empty rows, which consist of `IGNORE` only.
    flat = [labels for of_clip in clips for labels in (*of_clip, *[()] * (most - len(of_clip)))]
    return _ids(flat, IGNORE)[0].unflatten(0, (len(clips), most))


def _mask(lengths: Sequence[int]) -> Tensor:
    """Return a mask, bool (B, longest), that is True for the first `lengths` entries."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
