"""Writes the files of a store: shards, index, manifest.

A shard is an Arrow IPC file with one row a clip and one column a stream, in which a clip's frames
lie flattened one after another; a reader maps the file and takes views. Equal features give equal
bytes, so the hashes in the manifest are those of the features and nothing else (no times, no
names). Each file is complete and on the disk before it gets its name. Shapes: T frames, D width.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinesweep.core.hashing import fingerprint

MANIFEST = "manifest.json"
INDEX = "index.arrow"


@dataclass(frozen=True)
class FileMark:
    """What a file must be: its size and hash."""

    num_bytes: int
    sha256: str


def features_digest(features: Mapping[str, NDArray[np.floating]]) -> str:
    """64 hexadecimal digits that name a clip's stored features, all streams."""
    digest = hashlib.sha256()
    for stream, x_TD in features.items():
        digest.update(f"{stream} {x_TD.dtype} {x_TD.shape};".encode())
        digest.update(np.ascontiguousarray(x_TD).data)
    return digest.hexdigest()


def write_shard(path: Path, streams: Mapping[str, Sequence[NDArray[np.floating]]]) -> FileMark:
    """Writes clips' features, stream → one (T, D) array a clip, in the order of the clips."""
    columns = {}
    for stream, clips in streams.items():
        offsets = np.cumsum([0, *(x_TD.size for x_TD in clips)], dtype=np.int64)
        values = np.concatenate([x_TD.reshape(-1) for x_TD in clips])
        columns[stream] = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
    return write_table(path, pa.table(columns))


def write_table(path: Path, table: pa.Table) -> FileMark:
    """Writes a table as an Arrow IPC file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return write_durably(path, sink.getvalue())


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest, with a checksum over itself."""
    whole = {**manifest, "checksum": fingerprint(manifest)}
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    write_durably(folder / MANIFEST, f"{text}\n".encode())


def write_durably(path: Path, content: Any) -> FileMark:
    """Writes a file that is there whole or not at all, even when two processes write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with partial.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return FileMark(len(content), hashlib.sha256(content).hexdigest())


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
