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

    Streams of pixels and of token ids are left out: the models that read them have constants of
    their own. At most 2000 clips are used, for each stream of those that have it. Frames are summed
    in the order of the store, so the result is the same on every machine.

    Args:
        store: Store with the features.
        split: Name of the split.

    Returns:
        Stream → mean (D,) and standard deviation (D,), both 0 if the split is empty. Streams of
        pixels and of token ids are left out.

    Raises:
        StoreError: If there is no such split, or a shard is damaged.
    """
    all_records = store.get_records(split)
    statistics: FrameStatistics = {}
    for stream, schema in store.schema.streams.items():
        if schema.frame_size is not None or schema.vocabulary is not None:
            continue  # neither pixels nor token ids are standardized
        records = [record for record in all_records if stream in record.lengths]
        num_clips = min(len(records), _MAX_CLIPS)
        sampled_records = [records[i * len(records) // num_clips] for i in range(num_clips)]
        width = schema.width
        num_frames, sum_D, sum_of_squares_D = 0, np.zeros(width), np.zeros(width)
        for record in sampled_records:
            # float64, because sums of float16 values would lose digits.
            x_TD = np.asarray(store.get_features(record)[stream], np.float64)
            num_frames += len(x_TD)
            sum_D += x_TD.sum(0)
            sum_of_squares_D += (x_TD * x_TD).sum(0)
        mean_D = sum_D / max(1, num_frames)
        # E[x²] - E[x]² of a constant feature can be slightly negative after rounding.
        variance_D = np.maximum(0, sum_of_squares_D / max(1, num_frames) - mean_D * mean_D)
        statistics[stream] = (mean_D.astype(np.float32), np.sqrt(variance_D).astype(np.float32))
    return statistics
