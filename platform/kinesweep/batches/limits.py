"""Which clips of a split take part: limits of length, counted, never silent."""

from collections import Counter
from collections.abc import Sequence

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.store.index import ClipRecord


def num_frames(record: ClipRecord) -> int:
    """Frames of all streams of a clip, as they are joined in the encoder's input."""
    return sum(record.lengths.values())


def within(
    records: Sequence[ClipRecord], config: BatchConfig | None, split: str
) -> tuple[list[ClipRecord], dict[str, int]]:
    """Clips inside of the limits, and how many were left out for which reason; all of test.

    Raises:
        InputError: nothing is left.
    """
    if config is None or split == "test":
        return list(records), {}
    longest = config.max_clip_frames
    reasons: list[str] = []
    kept = []
    for record in records:
        frames = num_frames(record)
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
