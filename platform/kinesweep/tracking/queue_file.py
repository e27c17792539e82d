"""The file of an offline queue: its records, one a line, and its lock for one process."""

import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from kinesweep.core.errors import TrackingError

RecordKind = Literal["tags", "params", "metrics", "artifact", "dataset", "finish"]
CONTENT_KINDS: frozenset[RecordKind] = frozenset(get_args(RecordKind))
"""Kinds of records; the other entries of a file describe the queue itself."""
_RETRY_S = 0.1


@dataclass(frozen=True)
class QueuedRecord:
    """A record of a run that is to be sent to the server.

    Attributes:
        kind: Kind of the record, for example `metrics`.
        value: Content of the record as plain values, for example metric → value.
        time_ms: Time of recording in milliseconds since the epoch.
        step: Step of metrics; 0 for other kinds.
        end_offset: Byte offset in the file after the record's line.
    """

    kind: RecordKind
    value: dict[str, Any]
    time_ms: int
    step: int
    end_offset: int


def format_entry(entry: Mapping[str, Any]) -> str:
    """Return an entry of the queue as JSON text that ends in a newline."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def open_locked(path: Path, timeout_s: float) -> Any:
    """Open a file for appending, without a buffer, and lock it.

    The lock is on the file itself, not on a separate one as with `hold_lock_file`.

    Args:
        path: File of the queue.
        timeout_s: Longest wait for the lock in seconds.

    Raises:
        TrackingError: If another process holds the lock for longer than `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        file = path.open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder may have replaced the file between `open` and `flock`; the lock
            # then belongs to the old inode.
            if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError:
            pass
        file.close()  # locked by another process, or replaced by its previous holder
        if time.monotonic() > deadline:
            raise TrackingError(
                f"another process is recording the run of `{path}`; only one process may record a"
                " run, so stop the other one or wait for it to finish"
            )
        time.sleep(_RETRY_S)


def parse_entries(content: bytes) -> list[tuple[dict[str, Any], int]]:
    """Parse the lines of a queue file; return each entry with the byte offset of its end.

    A line that a kill or a full disk cut short becomes an empty entry.
    """
    entries: list[tuple[dict[str, Any], int]] = []
    end_offset = 0
    for line_bytes in content.splitlines(keepends=True):
        end_offset += len(line_bytes)
        try:
            entries.append((dict(json.loads(line_bytes)), end_offset))
        except ValueError:
            # Kept as an empty entry, because the last offset must be the size of the file.
            entries.append(({}, end_offset))
    return entries


def make_record(entry: Mapping[str, Any], end_offset: int) -> QueuedRecord:
    """Convert an entry of the file to a record.

    Args:
        entry: Entry with a content kind as one of its keys.
        end_offset: Byte offset of the end of its line.
    """
    kind: RecordKind = next(key for key in CONTENT_KINDS if key in entry)
    return QueuedRecord(kind, entry[kind], entry["time"], entry.get("step", 0), end_offset)


def select_records(entries: Sequence[tuple[Mapping[str, Any], int]]) -> list[QueuedRecord]:
    """Return the entries that are records, from entries with the byte offsets of their ends."""
    return [make_record(entry, end) for entry, end in entries if CONTENT_KINDS & entry.keys()]
