"""Mean and deviation of each feature over the training split, for models that standardise.

Poses need it: a face's place is a large constant in every frame, and a linear layer that sees it
learns from little else (LOG.md: 20 BLEU without, 70 with, in the same minute of training).
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.store.reader import Store

Statistics = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Stream → mean (D,) and standard deviation (D,)."""

_MOST_CLIPS = 2000
"""Clips that are looked at, spread evenly: enough for three digits, and a second at the most."""


def frame_statistics(store: Store, split: str = "train") -> Statistics:
    """Statistics over the frames of a split, the same on every machine (summed in order)."""
    records = store.records(split)
    count = min(len(records), _MOST_CLIPS)
    chosen = [records[i * len(records) // count] for i in range(count)]
    found: Statistics = {}
    for stream, width in store.schema.widths.items():
        frames, total, square = 0, np.zeros(width), np.zeros(width)
        for record in chosen:
            x_TD = np.asarray(store.features(record)[stream], np.float64)
            frames += len(x_TD)
            total += x_TD.sum(0)
            square += (x_TD * x_TD).sum(0)
        mean = total / max(1, frames)
        deviation = np.sqrt(np.maximum(0, square / max(1, frames) - mean * mean))
        found[stream] = (mean.astype(np.float32), deviation.astype(np.float32))
    return found
