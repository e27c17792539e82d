"""Which windows a pretraining run reads: functions of the seed and the position in the run alone.

Training windows are an endless sequence. Every clip is read once per epoch, in a random order, and
gives `repeats` windows that start at random frames. Each window is determined by its index, so a
run with two workers reads the windows of one with one worker, and a resumed one those of an
uninterrupted one. Validation windows tile the clips, with fixed seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kinesweep.config.pretraining.windows import PretrainingBatchConfig
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import create_generator, derive_seed
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class PlannedWindow:
    """A window of a clip.

    Attributes:
        record: Record of the clip.
        frames: Indices of the stored frames; those after the end of the clip repeat its last one.
        num_real_frames: Number of frames before the end of the clip.
        seed: Seed of everything random about the window.
    """

    record: ClipRecord
    frames: tuple[int, ...]
    num_real_frames: int
    seed: int


@dataclass(frozen=True)
class TrainingWindowPlan:
    """The endless sequence of training windows.

    Attributes:
        records: Records of the clips that are long enough, in the order of the store.
        stream: Name of the stream of frames.
        batch: The recipe's `batch` section.
        seed: Random seed of the run.
    """

    records: Sequence[ClipRecord]
    stream: str
    batch: PretrainingBatchConfig
    seed: int

    @property
    def windows_per_epoch(self) -> int:
        """Return the number of windows of an epoch."""
        return len(self.records) * self.batch.repeats

    def get_window(self, index: int) -> PlannedWindow:
        """Return the window at an index of the sequence."""
        # The windows of one clip follow each other, so that it is decoded once.
        epoch, position = divmod(index // self.batch.repeats, len(self.records))
        record = self.records[_draw_order(self.seed, epoch, len(self.records))[position]]
        # From the index alone, so neither workers nor resumption change a window.
        seed = derive_seed(self.seed, "window", index)
        num_frames = count_read_frames(record, self.stream, self.batch)
        # Frames from the first to the last of a window; nothing is read after the last.
        span = (self.batch.num_frames - 1) * self.batch.sampling_rate + 1
        start = int(create_generator(seed, "start").integers(0, max(1, num_frames - span + 1)))
        return _place_window(record, start, num_frames, self.batch, seed)


def plan_validation_windows(
    records: Sequence[ClipRecord], stream: str, batch: PretrainingBatchConfig
) -> list[PlannedWindow]:
    """Plan the windows of validation: those of an extraction without overlap, with fixed seeds.

    The seeds depend on clip and start only, so runs with different seeds hide the same units.

    Args:
        records: Records of the clips.
        stream: Name of the stream of frames.
        batch: The recipe's `batch` section.
    """
    windows = []
    for record in records:
        num_frames = count_read_frames(record, stream, batch)
        for start in range(0, num_frames, batch.num_frames * batch.sampling_rate):
            seed = derive_seed("validation", record.clip.id, start)
            windows.append(_place_window(record, start, num_frames, batch, seed))
    limit = batch.max_validation_windows
    if limit is None or limit >= len(windows):
        return windows
    # Evenly spaced, so that a small limit still covers all clips.
    return [windows[index] for index in np.linspace(0, len(windows) - 1, limit).round().astype(int)]


def select_records(
    store: Store, split: str, stream: str, batch: PretrainingBatchConfig
) -> list[ClipRecord]:
    """Select the records of a split whose clips are long enough.

    Args:
        store: Feature store.
        split: Name of the split.
        stream: Name of the stream of frames.
        batch: The recipe's `batch` section.

    Raises:
        InputError: If no clip is left.
        StoreError: If there is no such split.
    """
    records = [
        record
        for record in store.get_records(split)
        if record.lengths[stream] >= batch.min_clip_frames
    ]
    if not records:
        raise InputError(
            f"the split `{split}` has no clip of at least {batch.min_clip_frames} frames; lower"
            " `batch.min_clip_frames`, or add clips to the corpus"
        )
    return records


def count_read_frames(record: ClipRecord, stream: str, batch: PretrainingBatchConfig) -> int:
    """Count the frames of a clip that windows may contain."""
    return min(record.lengths[stream], batch.max_clip_frames or record.lengths[stream])


@lru_cache(maxsize=2)
def _draw_order(seed: int, epoch: int, num_clips: int) -> tuple[int, ...]:
    """Draw the order of the clips in an epoch; a batch may lie in two epochs."""
    return tuple(create_generator(seed, "order", epoch).permutation(num_clips).tolist())


def _place_window(
    record: ClipRecord, start: int, num_frames: int, batch: PretrainingBatchConfig, seed: int
) -> PlannedWindow:
    """Return the window of a clip that begins at a frame.

    Args:
        record: Record of the clip.
        start: Index of the first frame.
        num_frames: Number of frames of the clip.
        batch: The recipe's `batch` section.
        seed: Seed of the window.
    """
    indices = start + batch.sampling_rate * np.arange(batch.num_frames)
    # Repeated frames must not be predicted: they could be copied from visible ones.
    num_real_frames = int(np.count_nonzero(indices < num_frames))
    return PlannedWindow(
        record, tuple(np.minimum(indices, num_frames - 1).tolist()), num_real_frames, seed
    )
