"""Mean and standard deviation of each feature over a split, for models that standardize inputs.

Poses need it: the position of a face is a large constant in every frame, and a linear layer that
sees it learns little else (LOG.md: 20 BLEU without, 70 with, in the same minute of training).
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.store.format.reader import Store

FrameStatistics = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Stream → mean (D,) and standard deviation (D,)."""

_MAX_CLIPS = 2000
"""Largest number of clips used, spread evenly: precise to three digits, at most one second."""


def compute_frame_statistics(store: Store, split: str = "train") -> FrameStatistics:
    """Compute the mean and standard deviation of each feature over the frames of a split.

    Frames are summed in order, so the result is the same on every machine.

    Args:
        store: Store with the features.
        split: Name of the split.

    Returns:
        Stream → mean (D,) and standard deviation (D,).
    """
    records = store.get_records(split)
    num_clips = min(len(records), _MAX_CLIPS)
    chosen = [records[i * len(records) // num_clips] for i in range(num_clips)]
    statistics: FrameStatistics = {}
    for stream, width in store.schema.widths.items():
        frames, total, square = 0, np.zeros(width), np.zeros(width)
        for record in chosen:
            # float64, because sums of float16 values would lose digits.
            x_TD = np.asarray(store.get_features(record)[stream], np.float64)
            frames += len(x_TD)
            total += x_TD.sum(0)
            square += (x_TD * x_TD).sum(0)
        mean = total / max(1, frames)
        # E[x²] - E[x]² of a constant feature can be slightly negative after rounding.
        deviation = np.sqrt(np.maximum(0, square / max(1, frames) - mean * mean))
        statistics[stream] = (mean.astype(np.float32), deviation.astype(np.float32))
    return statistics
