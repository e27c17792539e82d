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

from kinesweep.config.loading import suggest_closest_word
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig
from kinesweep.core.errors import InputError
from kinesweep.store.format.index import ClipRecord


class StreamTruncationStats(NamedTuple):
    """The number of truncated clips of a stream, and the number of removed frames."""

    clips: int
    frames: int


def count_frames(lengths: Mapping[str, int], config: BatchConfig | None = None) -> int:
    """Count the frames of a clip, summed over its streams without reference motions.

    Args:
        lengths: Stream name → number of frames.
        config: Batch settings, which list the reference streams; None: there are none.
    """
    reference_streams = _get_reference_streams(config)
    return sum(frames for name, frames in lengths.items() if name not in reference_streams)


def _get_reference_streams(config: BatchConfig | None) -> tuple[str, ...]:
    """Return the names of reference streams, which the store of an earlier stage may lack."""
    return config.uncounted if isinstance(config, EffectiveBatchConfig) else ()


def truncate_lengths(lengths: Mapping[str, int], config: BatchConfig | None) -> dict[str, int]:
    """Truncate lengths (stream → number of frames) to `batch.truncate_frames`."""
    limits = config.truncate_frames if config is not None else {}
    return {name: min(frames, limits.get(name, frames)) for name, frames in lengths.items()}


def truncate_streams(
    streams: Mapping[str, NDArray[np.floating]], config: BatchConfig | None
) -> dict[str, NDArray[np.floating]]:
    """Truncate streams (T, D) to `batch.truncate_frames`; the results are views."""
    lengths = truncate_lengths({name: len(x_TD) for name, x_TD in streams.items()}, config)
    return {name: x_TD[: lengths[name]] for name, x_TD in streams.items()}


def count_clip_frames(record: ClipRecord, config: BatchConfig | None = None) -> int:
    """Count the frames of a clip over its streams; with `config`, after truncation."""
    return count_frames(truncate_lengths(record.lengths, config), config)


def compute_truncation_stats(
    records: Sequence[ClipRecord], config: BatchConfig
) -> dict[str, StreamTruncationStats]:
    """Compute how much `batch.truncate_frames` removes, for each stream that loses frames."""
    stats: dict[str, StreamTruncationStats] = {}
    for name, limit in config.truncate_frames.items():
        removed = [excess for r in records if (excess := r.lengths.get(name, 0) - limit) > 0]
        if removed:
            stats[name] = StreamTruncationStats(len(removed), sum(removed))
    return stats


def filter_clips_by_length(
    records: Sequence[ClipRecord], config: BatchConfig | None, split: str
) -> tuple[list[ClipRecord], dict[str, int]]:
    """Filter clips by length; return the remaining ones and the number of dropped ones by reason.

    Limits on whole clips are not applied to the test split.

    Raises:
        InputError: If no clip is left, or a limited stream does not exist.
    """
    # All clips of a split have the same streams, so checking the first one is enough.
    if config is not None and records:
        _check_limited_streams(config, records[0].lengths)
    if config is None or split == "test":
        return list(records), {}
    longest = config.max_clip_frames
    reasons: list[str] = []
    remaining = []
    for record in records:
        frames = count_frames(record.lengths, config)
        if frames < config.min_clip_frames:
            reasons.append("too_short")
        elif longest is not None and frames > longest:
            reasons.append("too_long")
        else:
            remaining.append(record)
    dropped = dict(Counter(reasons))
    if not remaining:
        raise InputError(
            f"no clip of the {split} split is left: of {len(records)} clips, the limits"
            f" `batch.min_clip_frames` ({config.min_clip_frames}) and `batch.max_clip_frames`"
            f" ({longest}) dropped {dropped}"
        )
    return remaining, dropped


def _check_limited_streams(config: BatchConfig, streams: Mapping[str, int]) -> None:
    """Check that limited streams exist; a reference may be added in a later stage."""
    for name in config.truncate_frames:
        if name not in streams and name not in _get_reference_streams(config):
            available = ", ".join(f"`{stream}`" for stream in streams)
            raise InputError(
                f"`batch.truncate_frames` limits `{name}`, but the clips have no such stream"
                f"{suggest_closest_word(name, list(streams))}; available: {available}"
            )
