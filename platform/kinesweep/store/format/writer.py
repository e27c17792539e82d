"""The writer of a store's files: shards, index and manifest.

A shard is an Arrow IPC file with one row per clip and one column per stream, in which the frames of
a clip are flattened one after another; a reader maps the file and takes views. Equal features give
equal bytes, because shards contain neither times nor names, so the hashes in the manifest identify
the features. Each file is complete and synced to disk before it gets its final name. Shapes: T
frames, D width.
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

from kinesweep.core.hashing import compute_fingerprint

MANIFEST = "manifest.json"
INDEX = "index.arrow"


@dataclass(frozen=True)
class FileChecksum:
    """The size and SHA-256 of a file of a store, as its manifest records them.

    Attributes:
        num_bytes: Size in bytes.
        sha256: SHA-256 of the content, 64 hexadecimal digits.
    """

    num_bytes: int
    sha256: str


def compute_features_digest(features: Mapping[str, NDArray[Any]]) -> str:
    """Compute the SHA-256 of a clip's stored features, 64 hexadecimal digits.

    Args:
        features: Stream → stored features, (T, D); the order of the streams changes the digest.
    """
    digest = hashlib.sha256()
    for stream, x_TD in features.items():
        # The header separates streams whose raw bytes would otherwise be ambiguous.
        digest.update(f"{stream} {x_TD.dtype} {x_TD.shape};".encode())
        digest.update(np.ascontiguousarray(x_TD).data)
    return digest.hexdigest()


def write_shard(path: Path, streams: Mapping[str, Sequence[NDArray[np.floating]]]) -> FileChecksum:
    """Write the features of clips as a shard and return its size and SHA-256.

    Args:
        path: Path of the shard.
        streams: Stream → one array of shape (T, D) per clip, in the order of the shard's rows; at
            least one clip.
    """
    columns = {}
    for stream, clip_features in streams.items():
        offsets = np.cumsum([0, *(x_TD.size for x_TD in clip_features)], dtype=np.int64)
        values = np.concatenate([x_TD.reshape(-1) for x_TD in clip_features])
        # 64-bit offsets: 32 bits would limit a shard to 2³¹ values per stream.
        columns[stream] = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
    return write_arrow_table(path, pa.table(columns))


def write_arrow_table(path: Path, table: pa.Table) -> FileChecksum:
    """Write a table durably as an Arrow IPC file and return its size and SHA-256.

    Args:
        path: Path of the file.
        table: Table to write.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return write_bytes_durably(path, sink.getvalue())


def write_store_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a store durably, with a checksum over its own content.

    Args:
        folder: Folder of the store.
        manifest: Content without the checksum; plain values.
    """
    content = {**manifest, "checksum": compute_fingerprint(manifest)}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes_durably(folder / MANIFEST, f"{text}\n".encode())


def write_bytes_durably(path: Path, content: Any) -> FileChecksum:
    """Write bytes to a file atomically and durably, even if several processes do so at once.

    The content is on disk before the file gets its name. The name itself survives a power failure
    only if the caller also syncs the folder (`fsync_path`).

    Args:
        path: Final path; missing parent folders are created.
        content: Bytes or a bytes-like object.

    Returns:
        Size and SHA-256 of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A unique name per call, so that two processes never write to the same partial file.
    temp_path = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with temp_path.open("xb") as file:
        file.write(content)
        file.flush()
        # Without a sync, some file systems may persist the rename before the content.
        os.fsync(file.fileno())
    temp_path.replace(path)
    return FileChecksum(len(content), hashlib.sha256(content).hexdigest())
