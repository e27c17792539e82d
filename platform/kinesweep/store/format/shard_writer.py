"""The writer of a shard that receives one clip after another.

Shards of numbers are collected and written at once, as one record batch. The frames of 32 clips
would take gigabytes (20 MB for 5 s of 224 pixels), so each clip of a shard of frames is written as
a record batch of its own when it arrives, and the memory holds one clip. Shapes: T frames, D width.
"""

import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinesweep.store.format.writer import FileChecksum, write_shard


class ShardWriter:
    """A context manager that writes a shard clip by clip; after an error the shard is removed.

    Args:
        path: Path of the shard.
        streams: Names of the streams, in the order of their columns.

    Attributes:
        num_rows: Number of clips that were added.
    """

    def __init__(self, path: Path, streams: Sequence[str]) -> None:
        self._path, self._streams = path, streams
        self._collected: list[Mapping[str, NDArray[Any]]] = []
        self._frames_file: _FramesFile | None = None
        self.num_rows = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._frames_file is not None:
            self._frames_file.discard()

    def add(self, features: Mapping[str, NDArray[Any]], *, is_large: bool) -> int:
        """Add a clip and return its row in the shard.

        Args:
            features: Stream → stored features, (T, D).
            is_large: Whether to write the clip at once; the same for all clips of a shard.
        """
        if not is_large:
            self._collected.append(features)
        else:
            if self._frames_file is None:
                self._frames_file = _FramesFile(self._path)
            self._frames_file.write({name: features[name] for name in self._streams})
        self.num_rows += 1
        return self.num_rows - 1

    def finish(self) -> FileChecksum | None:
        """Write the shard durably and return its size and SHA-256; None if no clip was added."""
        if self._frames_file is not None:
            checksum = self._frames_file.finish()
            self._frames_file = None
            return checksum
        if not self._collected:
            return None
        columns = {name: [clip[name] for clip in self._collected] for name in self._streams}
        return write_shard(self._path, columns)


class _FramesFile:
    """An Arrow IPC file with one record batch per clip, under a temporary name until it is whole.

    Args:
        path: Final path.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # A unique name per file, so that two processes never write to the same partial file.
        self._temp_path = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        self._sink = _HashingSink(self._temp_path)
        self._file: pa.ipc.RecordBatchFileWriter | None = None

    def write(self, features: Mapping[str, NDArray[Any]]) -> None:
        """Write the features of a clip, stream → (T, D), as one record batch."""
        columns = {
            # 64-bit offsets, because a clip may have more than 2³¹ values: 8 minutes of 224 pixels.
            name: pa.LargeListArray.from_arrays(
                pa.array(np.array([0, x_TD.size], np.int64)), pa.array(x_TD.reshape(-1))
            )
            for name, x_TD in features.items()
        }
        batch = pa.RecordBatch.from_pydict(columns)
        if self._file is None:
            # Written through the sink, so that hashing needs no second pass over gigabytes.
            self._file = pa.ipc.new_file(pa.PythonFile(self._sink, "w"), batch.schema)
        self._file.write_batch(batch)

    def finish(self) -> FileChecksum:
        """Write the end of the file, sync it to disk and give it its final name."""
        assert self._file is not None
        self._file.close()
        checksum = self._sink.finish()
        self._temp_path.replace(self._path)
        return checksum

    def discard(self) -> None:
        """Close and remove the unfinished file."""
        self._sink.close()
        self._temp_path.unlink(missing_ok=True)


class _HashingSink:
    """A binary file that computes the SHA-256 of what is written to it.

    Args:
        path: Path of the file, which must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._num_bytes = 0

    @property
    def closed(self) -> bool:
        """Return whether the file is closed, as Arrow asks."""
        return self._file.closed

    def write(self, content: Any) -> int:
        """Write a bytes-like object and return its size in bytes."""
        view = memoryview(content)
        self._digest.update(view)
        self._num_bytes += view.nbytes
        return self._file.write(view)

    def flush(self) -> None:
        """Pass written bytes on to the operating system."""
        self._file.flush()

    def finish(self) -> FileChecksum:
        """Sync the file to disk, close it and return its size and SHA-256."""
        self._file.flush()
        # Without a sync, some file systems may persist the later rename before the content.
        os.fsync(self._file.fileno())
        self._file.close()
        return FileChecksum(self._num_bytes, self._digest.hexdigest())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
