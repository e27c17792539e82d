"""A store of few clips that lies in memory alone: what batches ask of one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.store.format.index import ClipRecord

Features = Callable[[ClipRecord], dict[str, NDArray[np.float32]]]


def _orders(record: ClipRecord) -> dict[str, NDArray[np.float32]]:
    """Two values a frame: the clip's place in its document."""
    return {
        name: np.full((frames, 2), record.clip.order, np.float32)
        for name, frames in record.lengths.items()
    }


def memory_store(*records: ClipRecord, features: Features = _orders) -> Any:
    """A store of these clips."""
    names = list(records[0].lengths)
    return SimpleNamespace(
        splits=("train", "validation", "test"),
        schema=StoreSchema({name: StreamSchema(2, 25.0, "float32") for name in names}),
        get_records=lambda split: [r for r in records if r.clip.split == split],
        get_features=features,
    )
