"""Length limits: which clips of a split are used, and how many frames of each.

Dropped clips and removed frames are counted.

`batch.min_clip_frames` and `max_clip_frames` drop whole clips from train and validation.
`batch.truncate_frames` truncates long streams at their end, also in test, because it determines
what the model reads. Whether a clip is used depends on its length before truncation, so a search
over truncation lengths scores the same sentences in all trials. Frame budgets and buckets count the
frames that remain.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError
from kinesweep.store.format.index import ClipRecord


class StreamTruncationStats(NamedTuple):
    """The effect of `batch.truncate_frames` on a stream.

    Attributes:
        num_clips: Number of truncated clips.
        num_frames: Number of frames removed from them.
    """

    num_clips: int
    num_frames: int


def count_frames(lengths: Mapping[str, int], config: BatchConfig | None = None) -> int:
    """Sum the given lengths over the streams of a clip, without streams of reference motions.

    No limit of the config is applied; `count_clip_frames` truncates first.

    Args:
        lengths: Stream name → number of frames.
        config: Batch config. With a plain `BatchConfig`, which lists no streams of reference
            motions, and with None, all streams are counted.
    """
    reference_streams = _get_reference_streams(config)
    return sum(frames for name, frames in lengths.items() if name not in reference_streams)


def _get_reference_streams(config: BatchConfig | None) -> tuple[str, ...]:
    """Return the streams of reference motions that an `EffectiveBatchConfig` lists.

    Any other `BatchConfig` is a section as users write it, which lists none; for it, and for None,
    the result is empty.
    """
    return config.reference_streams if isinstance(config, EffectiveBatchConfig) else ()


def truncate_lengths(lengths: Mapping[str, int], config: BatchConfig | None) -> dict[str, int]:
    """Truncate lengths (stream → number of frames) to `batch.truncate_frames` of the config.

    Without a config, the lengths do not change.
    """
    limits = config.truncate_frames if config is not None else {}
    return {name: min(frames, limits.get(name, frames)) for name, frames in lengths.items()}


def truncate_streams(
    streams: Mapping[str, NDArray[np.floating]], config: BatchConfig | None
) -> dict[str, NDArray[np.floating]]:
    """Truncate streams (T, D) at their end to `batch.truncate_frames`; the results are views.

    Without a config, no stream is truncated.
    """
    lengths = truncate_lengths({name: len(x_TD) for name, x_TD in streams.items()}, config)
    return {name: x_TD[: lengths[name]] for name, x_TD in streams.items()}


def count_clip_frames(record: ClipRecord, config: BatchConfig | None = None) -> int:
    """Count the frames of a clip after truncation, summed over its streams as in `count_frames`.

    Only the variant of the clip that the record describes counts.

    Args:
        record: Clip.
        config: Batch config with `truncate_frames`; None: nothing is truncated, and all streams are
            counted.
    """
    return count_frames(truncate_lengths(record.lengths, config), config)


def compute_truncation_stats(
    records: Sequence[ClipRecord], config: BatchConfig
) -> dict[str, StreamTruncationStats]:
    """Compute how many clips and frames `batch.truncate_frames` affects in each stream.

    Of a clip with several variants, the longest counts. Streams that lose no frames are left out.
    """
    stats: dict[str, StreamTruncationStats] = {}
    for name, max_frames in config.truncate_frames.items():
        # A clip may lack the stream; it then counts as not truncated.
        excesses = [
            max(lengths.get(name, 0) for lengths in record.all_lengths) - max_frames
            for record in records
        ]
        num_removed = [excess for excess in excesses if excess > 0]
        if num_removed:
            stats[name] = StreamTruncationStats(len(num_removed), sum(num_removed))
    return stats


def filter_clips_by_length(
    records: Sequence[ClipRecord], config: BatchConfig | None, split: str
) -> tuple[list[ClipRecord], dict[str, int]]:
    """Filter the clips of a split by `batch.min_clip_frames` and `batch.max_clip_frames`.

    A clip's frames are counted before truncation, without reference motions (see `count_frames`).
    Every variant of a clip must be within the limits, so that all epochs have the same clips. Clips
    of the test split are never dropped. Without a config, no clip is dropped.

    Returns:
        The remaining clips in the given order, and reason (`too_short` or `too_long`) → number of
        dropped clips.

    Raises:
        InputError: If limits apply and no clip is left, or if `batch.truncate_frames` names a
            stream that the clips lack.
    """
    # A clip may lack streams that other clips of the split have.
    if config is not None and config.truncate_frames and records:
        streams = dict.fromkeys(name for record in records for name in record.lengths)
        _check_limited_streams(config, streams)
    if config is None or split == "test":
        return list(records), {}
    max_frames = config.max_clip_frames
    reasons: list[str] = []
    remaining = []
    for record in records:
        frames = [count_frames(lengths, config) for lengths in record.all_lengths]
        if min(frames) < config.min_clip_frames:
            reasons.append("too_short")
        elif max_frames is not None and max(frames) > max_frames:
            reasons.append("too_long")
        else:
            remaining.append(record)
    dropped = dict(Counter(reasons))
    if not remaining:
        raise InputError(
            f"no clip of the {split} split is left: of {len(records)} clips, the limits"
            f" `batch.min_clip_frames` ({config.min_clip_frames}) and `batch.max_clip_frames`"
            f" ({max_frames}) dropped {dropped}"
        )
    return remaining, dropped


def _check_limited_streams(config: BatchConfig, streams: Collection[str]) -> None:
    """Check that every stream in `batch.truncate_frames` is one of `streams`.

    A stream of reference motions that the config lists may be missing: the store of an earlier
    training stage may lack it.

    Raises:
        InputError: If another stream is missing; the message names the first one.
    """
    for name in config.truncate_frames:
        if name not in streams and name not in _get_reference_streams(config):
            available = ", ".join(f"`{stream}`" for stream in streams)
            raise InputError(
                f"`batch.truncate_frames` limits `{name}`, but the clips have no such stream"
                f"{suggest_closest_word(name, list(streams))}; available: {available}"
            )
