"""Collation: the features and tokens of clips are padded into a `Batch`, and only here.

Shapes: B clips, T frames, D width, P prompt tokens, A tokens after the frames, L target tokens,
F forced tokens, R references, N the longest of some token sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinesweep.core.batch import IGNORE, Batch, BatchLayout

_BATCH_DTYPES: Mapping[str, Any] = {"u": np.uint8, "i": np.int64}
"""Kind of a stored dtype → dtype of a batch, for pixels and token ids; all others are float32."""


@dataclass(frozen=True)
class ClipTokens:
    """The token ids of a clip.

    Attributes:
        prompt: Tokens before the frames.
        forced: Tokens of the decoder prompt, with which `labels` begins.
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
        """Return the number of label tokens of the longest reference."""
        return max(map(len, (self.labels, *self.alternative_labels)))


@dataclass(frozen=True)
class BatchItem:
    """A clip ready for collation.

    Attributes:
        clip_id: Id of the clip.
        streams: Stream → features, (T, D); of type uint8 if they are the pixels of frames.
        tokens: Tokens of the clip.
    """

    clip_id: str
    streams: Mapping[str, NDArray[Any]]
    tokens: ClipTokens


def collate(items: Sequence[BatchItem], pad_id: int, zero_features: bool = False) -> Batch:
    """Collate clips into a batch: pad their features and tokens on the right and stack them.

    Args:
        items: At least one clip; all have the same streams.
        pad_id: Id of the token that pads prompts. Labels are padded with `IGNORE`.
        zero_features: Whether to set all features to zero, frames to black (a baseline that sees
            no input).
    """
    streams, frame_masks = {}, {}
    for name in items[0].streams:
        streams[name], frame_masks[name] = _pad_features([item.streams[name] for item in items])
        # The masks stay, so this baseline still knows the length of a clip.
        if zero_features:
            streams[name].zero_()
    prompt_ids, prompt_mask = _pad_ids([item.tokens.prompt for item in items], pad_id)
    suffix_ids, suffix_mask = _pad_ids([item.tokens.suffix for item in items], pad_id)
    forced_ids, forced_mask = _pad_ids([item.tokens.forced for item in items], pad_id)
    labels, _ = _pad_ids([item.tokens.labels for item in items], IGNORE)
    return Batch(
        clip_ids=tuple(item.clip_id for item in items),
        streams=streams,
        frame_masks=frame_masks,
        prompt_ids_BP=prompt_ids,
        prompt_mask_BP=prompt_mask,
        suffix_ids_BA=suffix_ids,
        suffix_mask_BA=suffix_mask,
        labels_BL=labels,
        forced_ids_BF=forced_ids,
        forced_mask_BF=forced_mask,
        labels_BRL=_pad_reference_labels(
            [(item.tokens.labels, *item.tokens.alternative_labels) for item in items]
        ),
        layout=_build_layout(items),
    )


def _build_layout(items: Sequence[BatchItem]) -> BatchLayout:
    """Build the layout of a batch from the lengths of its clips."""
    return BatchLayout(
        frames={
            name: tuple(len(item.streams[name]) for item in items) for name in items[0].streams
        },
        prompt=tuple(len(item.tokens.prompt) for item in items),
        suffix=tuple(len(item.tokens.suffix) for item in items),
        labels=tuple(
            tuple(map(len, (item.tokens.labels, *item.tokens.alternative_labels))) for item in items
        ),
    )


def _pad_features(features: Sequence[NDArray[Any]]) -> tuple[Tensor, Tensor]:
    """Pad the features (T, D) of each clip with zeros and stack them.

    Returns:
        The features, float32 (B, T, D), uint8 for the pixels of frames or int64 for token ids, and
        their mask, bool (B, T), True at real frames.
    """
    lengths = [len(x_TD) for x_TD in features]
    # Stores may hold half precision; the copy into this array converts to float32. Pixels stay
    # bytes: as floating point numbers they would take four times the memory.
    dtype = _BATCH_DTYPES.get(features[0].dtype.kind, np.float32)
    x_BTD = np.zeros((len(features), max(lengths), features[0].shape[1]), dtype)
    for x_TD, padded_TD in zip(features, x_BTD, strict=True):
        padded_TD[: len(x_TD)] = x_TD
    return torch.from_numpy(x_BTD), _make_mask(lengths)


def _pad_ids(sequences: Sequence[Sequence[int]], fill_id: int) -> tuple[Tensor, Tensor]:
    """Pad sequences of token ids with `fill_id` to the longest one and stack them.

    Returns:
        The ids, int64 (number of sequences, longest), and their mask, bool of the same shape, True
        at the given ids.
    """
    lengths = [len(ids) for ids in sequences]
    longest = max(lengths)
    padded = [[*ids, *[fill_id] * (longest - len(ids))] for ids in sequences]
    # Without the reshape, sequences that are all empty would give a one-dimensional tensor.
    ids_BN = torch.tensor(padded, dtype=torch.int64).reshape(len(sequences), longest)
    return ids_BN, _make_mask(lengths)


def _pad_reference_labels(labels_by_clip: Sequence[Sequence[Sequence[int]]]) -> Tensor | None:
    """Pad the labels of all references with `IGNORE`; None if no clip has a second reference.

    Args:
        labels_by_clip: Labels of each reference of each clip; every clip has at least one.

    Returns:
        Labels, int64 (B, R, L). The rows of missing references consist of `IGNORE`.
    """
    max_references = max(map(len, labels_by_clip))
    if max_references == 1:
        return None
    # Clips with fewer references get empty rows, which consist of `IGNORE` only.
    flat_labels = [
        labels
        for clip_labels in labels_by_clip
        for labels in (*clip_labels, *[()] * (max_references - len(clip_labels)))
    ]
    return _pad_ids(flat_labels, IGNORE)[0].unflatten(0, (len(labels_by_clip), max_references))


def _make_mask(lengths: Sequence[int]) -> Tensor:
    """Make a mask, bool (B, longest): True for the first `lengths[i]` entries of row i."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
