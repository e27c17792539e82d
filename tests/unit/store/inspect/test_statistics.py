"""Statistics are those of all frames, so a long clip counts for more than a short one."""

import numpy as np
import pytest

from kinesweep.core.clip import Clip
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.inspect.statistics import compute_frame_statistics
from records import memory_store

FRAMES = {"a": [[1, 0], [2, 0], [3, 8]], "b": [[6, 4]]}


def test_mean_and_deviation_are_over_frames() -> None:
    records = [ClipRecord(Clip(n, "train", ""), {"pose": len(x)}) for n, x in FRAMES.items()]
    records.append(ClipRecord(Clip("c", "validation", ""), {"pose": 1}))
    shown = {**FRAMES, "c": [[99, 99]]}
    store = memory_store(
        *records, features=lambda record: {"pose": np.array(shown[record.clip.id], np.float32)}
    )
    mean_D, deviation_D = compute_frame_statistics(store)["pose"]
    frames = np.array([*FRAMES["a"], *FRAMES["b"]])
    assert mean_D.tolist() == pytest.approx(frames.mean(axis=0).tolist()) == [3.0, 3.0]
    assert deviation_D.tolist() == pytest.approx(frames.std(axis=0).tolist())
