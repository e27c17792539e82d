"""A reader for W&B's transaction log, the `.wandb` file that holds the data of one run.

The format is that of LevelDB's log: blocks of 32 KiB with records of a CRC-32, a length of 16 bits
and a type, split at the ends of blocks; each record is a message of W&B's protocol. The file begins
with 7 bytes of its own. A record that a killed process cut short ends the reading.
https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK_BYTES, _FILE_HEADER_BYTES = 32768, 7
_RECORD_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's history: name → value, with W&B's row number as `_step`."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for content in _read_records(path.read_bytes()):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows


def count_rows(path: Path) -> int:
    """Return the number of the next row: 1 + the highest row number in the log, or 0."""
    return max((int(row["_step"]) + 1 for row in read_history(path)), default=0)


def _read_records(content: bytes) -> Iterator[bytes]:
    """Yield the contents of the complete records of a log."""
    position, parts = _FILE_HEADER_BYTES, b""
    while position + _RECORD_HEADER.size <= len(content):
        # Blocks count from the start of the file, whose own header is part of the first one.
        block_rest = _BLOCK_BYTES - position % _BLOCK_BYTES
        if block_rest < _RECORD_HEADER.size:
            # The rest of a block is filled with zeros if no header fits into it.
            position += block_rest
            continue
        _, num_bytes, kind = _RECORD_HEADER.unpack_from(content, position)
        position += _RECORD_HEADER.size
        part = content[position : position + num_bytes]
        # LevelDB reserves type 0 for space that is allocated but not written yet.
        if kind == 0 or len(part) < num_bytes:
            return
        position += num_bytes
        parts = part if kind in (_FULL, _FIRST) else parts + part
        if kind in (_FULL, _LAST):
            yield parts
