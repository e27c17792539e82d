"""A shard of a store, mapped into memory: the values of each of its clips as views of the file.

A shard is one record batch of all clips. Only shards of frames, which are too large to be held in
memory while they are written, have one record batch per clip. Mapping takes microseconds, and all
processes of a machine share one copy in the page cache.
"""

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_Columns = dict[str, tuple[NDArray[np.int64], NDArray[Any]]]
"""Stream → offsets and flattened values of the clips of a record batch."""


class MappedShard:
    """A memory-mapped shard.

    Args:
        path: Path of the shard.

    Raises:
        OSError: If the file cannot be opened.
        pa.ArrowInvalid: If it is not a shard.
    """

    def __init__(self, path: Path) -> None:
        # The arrays keep the mapping alive.
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [file.get_batch(index) for index in range(file.num_record_batches)]
        self._batches = [_map_columns(batch) for batch in batches]
        # Index of the first row of each batch.
        self._first_rows = [0, *accumulate(batch.num_rows for batch in batches)]

    def get_values(self, row: int) -> dict[str, NDArray[Any]]:
        """Return stream → the flattened values of the clip in a row, as read-only views."""
        index = bisect_right(self._first_rows, row) - 1
        row_in_batch = row - self._first_rows[index]
        return {
            stream: values[offsets[row_in_batch] : offsets[row_in_batch + 1]]
            for stream, (offsets, values) in self._batches[index].items()
        }


def _map_columns(batch: pa.RecordBatch) -> _Columns:
    """Return the columns of a record batch as views of the mapped file."""
    columns = zip(batch.schema.names, batch.columns, strict=True)
    return {
        stream: (_to_numpy_view(column.offsets), _to_numpy_view(column.values))
        for stream, column in columns
    }


def _to_numpy_view(array: pa.Array) -> NDArray[Any]:
    """Return a NumPy view of an Arrow array.

    Raises:
        pa.ArrowInvalid: If the data would have to be copied.
    """
    return array.to_numpy(zero_copy_only=True)
