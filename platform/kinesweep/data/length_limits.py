"""Length limits: which clips of a split are used, and how many frames of each. All are counted.

`batch.min_clip_frames` and `max_clip_frames` drop whole clips from train and validation.
`batch.truncate_frames` truncates long streams at their end, also in test, because it determines
what the model reads. Whether a clip is used depends on its length before truncation, so a search
over truncation lengths scores the same sentences in all trials. Frame budgets and buckets count the
frames that remain.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.loading import did_you_mean
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatch
from kinesweep.core.errors import InputError
from kinesweep.store.format.index import ClipRecord


class TruncationStats(NamedTuple):
    """Number of clips of a stream that were truncated, and number of frames removed."""

    clips: int
    frames: int


def count_frames(lengths: Mapping[str, int], config: BatchConfig | None = None) -> int:
    """Return the number of frames of a clip, summed over its streams without reference motions.

    Args:
        lengths: Stream name → number of frames.
        config: Batch settings, which list the reference streams; None: there are none.
    """
    others = _references_of(config)
    return sum(frames for name, frames in lengths.items() if name not in others)


def _references_of(config: BatchConfig | None) -> tuple[str, ...]:
    """Return the reference streams, which the store of an earlier stage may lack."""
    return config.uncounted if isinstance(config, EffectiveBatch) else ()


def kept_frames(lengths: Mapping[str, int], config: BatchConfig | None) -> dict[str, int]:
    """Return stream → number of frames that are read, given stream → number of frames."""
    caps = config.truncate_frames if config is not None else {}
    return {name: min(frames, caps.get(name, frames)) for name, frames in lengths.items()}


def truncate(
    streams: Mapping[str, NDArray[np.floating]], config: BatchConfig | None
) -> dict[str, NDArray[np.floating]]:
    """Return stream → the frames (T, D) that are read, as views."""
    kept = kept_frames({name: len(x_TD) for name, x_TD in streams.items()}, config)
    return {name: x_TD[: kept[name]] for name, x_TD in streams.items()}


def num_frames(record: ClipRecord, config: BatchConfig | None = None) -> int:
    """Return the total frames of a clip's joined streams; with `config`, after truncation."""
    return count_frames(kept_frames(record.lengths, config), config)


def cut_frames(records: Sequence[ClipRecord], config: BatchConfig) -> dict[str, TruncationStats]:
    """Return what `batch.truncate_frames` removes, for each stream that loses frames."""
    found: dict[str, TruncationStats] = {}
    for name, cap in config.truncate_frames.items():
        lost = [more for r in records if (more := r.lengths.get(name, 0) - cap) > 0]
        if lost:
            found[name] = TruncationStats(len(lost), sum(lost))
    return found


def filter_by_length(
    records: Sequence[ClipRecord], config: BatchConfig | None, split: str
) -> tuple[list[ClipRecord], dict[str, int]]:
    """Return the clips within the limits, and the number of dropped clips by reason.

    Limits on whole clips are not applied to the test split.

    Raises:
        InputError: If no clip is left, or a limited stream does not exist.
    """
    # All clips of a split have the same streams, so checking the first one is enough.
    if config is not None and records:
        _check_streams(config, records[0].lengths)
    if config is None or split == "test":
        return list(records), {}
    longest = config.max_clip_frames
    reasons: list[str] = []
    kept = []
    for record in records:
        frames = count_frames(record.lengths, config)
        if frames < config.min_clip_frames:
            reasons.append("too_short")
        elif longest is not None and frames > longest:
            reasons.append("too_long")
        else:
            kept.append(record)
    dropped = dict(Counter(reasons))
    if not kept:
        raise InputError(
            f"no clip of the {split} split is left: of {len(records)} clips, the limits"
            f" `batch.min_clip_frames` ({config.min_clip_frames}) and `batch.max_clip_frames`"
            f" ({longest}) dropped {dropped}"
        )
    return kept, dropped


def _check_streams(config: BatchConfig, streams: Mapping[str, int]) -> None:
    """Check that limited streams exist; a reference may be added in a later stage."""
    for name in config.truncate_frames:
        if name not in streams and name not in _references_of(config):
            there = ", ".join(f"`{stream}`" for stream in streams)
            raise InputError(
                f"`batch.truncate_frames` limits `{name}`, but the clips have no such stream"
                f"{did_you_mean(name, list(streams))}; available: {there}"
            )
