"""Which clips of a split take part, and how many frames of each: limits, counted, never silent.

`batch.min_clip_frames` and `max_clip_frames` leave whole clips out of train and validation;
`batch.max_stream_frames` cuts the end off long streams, of test too, because it says what the model
reads. Whether a clip takes part is decided on its frames before they are cut, so a search over cuts
scores the same sentences in all of its trials. Budgets and buckets count what is left.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.config import near_miss
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.data import BatchConfig, TakenBatch
from kinesweep.store.index import ClipRecord


class Cut(NamedTuple):
    """How many clips of a stream lost their end, and how many frames that were."""

    clips: int
    frames: int


def counted(lengths: Mapping[str, int], config: BatchConfig | None = None) -> int:
    """Frames of the streams that are joined: of all but references."""
    others = _references_of(config)
    return sum(frames for name, frames in lengths.items() if name not in others)


def _references_of(config: BatchConfig | None) -> tuple[str, ...]:
    """Streams of references, which a store of an earlier stage need not have."""
    return config.uncounted if isinstance(config, TakenBatch) else ()


def kept_frames(lengths: Mapping[str, int], config: BatchConfig | None) -> dict[str, int]:
    """Stream → frames that are read of so many."""
    caps = config.max_stream_frames if config is not None else {}
    return {name: min(frames, caps.get(name, frames)) for name, frames in lengths.items()}


def first_frames(
    streams: Mapping[str, NDArray[np.floating]], config: BatchConfig | None
) -> dict[str, NDArray[np.floating]]:
    """Stream → the frames (T, D) that are read; views."""
    kept = kept_frames({name: len(x_TD) for name, x_TD in streams.items()}, config)
    return {name: x_TD[: kept[name]] for name, x_TD in streams.items()}


def num_frames(record: ClipRecord, config: BatchConfig | None = None) -> int:
    """Frames of all streams of a clip, as they are joined; with `config`, those that are read."""
    return counted(kept_frames(record.lengths, config), config)


def cut_frames(records: Sequence[ClipRecord], config: BatchConfig) -> dict[str, Cut]:
    """What `batch.max_stream_frames` cuts off, by stream; only streams that lose something."""
    found: dict[str, Cut] = {}
    for name, cap in config.max_stream_frames.items():
        lost = [more for r in records if (more := r.lengths.get(name, 0) - cap) > 0]
        if lost:
            found[name] = Cut(len(lost), sum(lost))
    return found


def within(
    records: Sequence[ClipRecord], config: BatchConfig | None, split: str
) -> tuple[list[ClipRecord], dict[str, int]]:
    """Clips inside of the limits, and how many were left out for which reason; all of test.

    Raises:
        InputError: nothing is left, or a stream is limited that is not there.
    """
    if config is not None and records:
        _check_streams(config, records[0].lengths)
    if config is None or split == "test":
        return list(records), {}
    longest = config.max_clip_frames
    reasons: list[str] = []
    kept = []
    for record in records:
        frames = counted(record.lengths, config)
        if frames < config.min_clip_frames:
            reasons.append("too_short")
        elif longest is not None and frames > longest:
            reasons.append("too_long")
        else:
            kept.append(record)
    dropped = dict(Counter(reasons))
    if not kept:
        raise InputError(
            f"no clip of the {split} split is left: {len(records)} there, left out {dropped}"
            f" by `batch.min_clip_frames` ({config.min_clip_frames}) and `batch.max_clip_frames`"
            f" ({longest})"
        )
    return kept, dropped


def _check_streams(config: BatchConfig, streams: Mapping[str, int]) -> None:
    """Every stream that is limited is there; references may come in a later stage."""
    for name in config.max_stream_frames:
        if name not in streams and name not in _references_of(config):
            there = ", ".join(f"`{stream}`" for stream in streams)
            raise InputError(
                f"`batch.max_stream_frames` limits `{name}`, but the clips have no such stream"
                f"{near_miss(name, list(streams))}; there are: {there}"
            )
