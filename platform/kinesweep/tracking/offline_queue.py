"""The offline queue of a run: each record is appended to a file as a JSON line before it is sent.

Every record gets its timestamp here, once. The server treats a point with the same key, step and
timestamp as the same point, so sending a line again is harmless. A `sent` line marks the position
up to which the server has confirmed records. From the file, a later process of the run knows which
steps are already recorded and does not record them again. A line of 20 metrics costs 0.14 ms. Lines
are not synced to disk, because a killed process does not lose what it has written.
"""

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from kinesweep.core.errors import TrackingError
from kinesweep.core.io import write_text

RecordKind = Literal["tags", "params", "metrics", "artifact", "dataset", "finish"]
_CONTENT_KINDS: frozenset[RecordKind] = frozenset(get_args(RecordKind))
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


class OfflineQueue:
    """The offline queue of one run, a file held by one process at a time.

    Args:
        path: File of the queue; it and missing parent folders are created.
        header: Identity of the run, written with a random `life` when the file is new; an existing
            header is kept. None writes no header.
        timeout_s: Longest wait for another process to release the file, in seconds (a killed
            process releases it at once).
        overwrite: Discard the content that an earlier run left in the file.

    Attributes:
        path: File of the queue.
        header: Identity of the run, as in the file.
        run_id: Id of the MLflow run; None until it is known.
        last_steps: Metric → highest recorded step.
        params: Names of the parameters that have a value.
        tags: Tags as last recorded.
        status: Status as last recorded; None while the run is active.

    Raises:
        TrackingError: If another process holds the file for longer than `timeout_s`.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any] | None,
        timeout_s: float,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_locked(path, timeout_s)
        if overwrite:
            # Truncated, not deleted: the lock belongs to this inode (see `_open_locked`).
            self._file.truncate(0)
        # Training appends records while the sending thread acknowledges them.
        self._lock = threading.Lock()
        self.header: dict[str, Any] = {}
        self.run_id: str | None = None
        self.last_steps: dict[str, int] = {}
        self.params: set[str] = set()
        self.tags: dict[str, str] = {}
        self.status: str | None = None
        # Byte offset up to which the server has confirmed all records.
        self._confirmed_offset = 0
        # Whether the last write may have been cut short.
        self._has_incomplete_line = False
        self._records: list[QueuedRecord] = []
        self._size_bytes = self._restore_state()
        if not self.header and header is not None:
            # `life` tells this recording from an earlier one with the same key whose folder was
            # removed.
            self.header = {**header, "life": uuid.uuid4().hex}
            self._write_entry({"run": self.header})

    def append(self, kind: RecordKind, value: Mapping[str, Any], step: int = 0) -> QueuedRecord:
        """Append a record with the current time to the queue.

        Args:
            kind: Kind of the record.
            value: Content of the record as plain values.
            step: Step of metrics; ignored for other kinds.

        Returns:
            The appended record.
        """
        entry = {kind: dict(value), "time": time.time_ns() // 1_000_000}
        if kind == "metrics":
            entry["step"] = step
        with self._lock:
            record = self._apply_entry(entry, self._write_entry(entry))
            self._records.append(record)
        return record

    def get_pending_records(self) -> list[QueuedRecord]:
        """Return the records that the server has not confirmed, oldest first."""
        with self._lock:
            return [
                record for record in self._records if record.end_offset > self._confirmed_offset
            ]

    def acknowledge(self, record: QueuedRecord) -> None:
        """Mark all records up to and including `record` as confirmed by the server."""
        with self._lock:
            self._confirmed_offset = record.end_offset
            self._records = [
                queued for queued in self._records if queued.end_offset > self._confirmed_offset
            ]
            self._write_entry({"sent": self._confirmed_offset})

    def attach_run(self, run_id: str) -> None:
        """Store the id of the MLflow run to which the records belong, also in the file."""
        with self._lock:
            self.run_id = run_id
            self._write_entry({"attached": run_id})

    def detach_run(self) -> None:
        """Forget the deleted MLflow run and make all records in the file pending for a new one."""
        with self._lock:
            self.run_id, self._confirmed_offset = None, 0
            self._write_entry({"attached": None, "sent": 0})
            # Confirmed records are no longer in memory, so all are read from the file again.
            self._records = []
            for entry, end_offset in self._read_entries():
                if _CONTENT_KINDS & entry.keys():
                    self._records.append(self._apply_entry(entry, end_offset))

    def close(self) -> None:
        """Release the file, after compacting it if the server has confirmed all records."""
        with self._lock:
            if self._file.closed:
                return
            has_pending = any(
                record.end_offset > self._confirmed_offset for record in self._records
            )
            if self._confirmed_offset and not has_pending:
                # The file lock is still held, so no other process can append meanwhile.
                self._compact_file()
            self._file.close()

    def _compact_file(self) -> None:
        """Replace all entries of the file by the state that later processes need."""
        state = {
            "marks": self.last_steps,
            "params": sorted(self.params),
            "tags": self.tags,
            "status": self.status,
        }
        entries: list[dict[str, Any]] = [
            {"run": self.header},
            {"attached": self.run_id},
            {"known": state},
        ]
        # The new inode is not locked; `_open_locked` notices the change. A kill during the write
        # loses nothing.
        write_text(self.path, "".join(_format_entry(entry) for entry in entries))

    def _restore_state(self) -> int:
        """Restore the state that earlier processes wrote; return the size of the file in bytes."""
        size_bytes = 0
        for entry, size_bytes in self._read_entries():
            if "run" in entry:
                self.header = entry["run"]
            elif "known" in entry:
                state = entry["known"]
                self.last_steps, self.params = state["marks"], set(state["params"])
                self.tags, self.status = state["tags"], state["status"]
            elif _CONTENT_KINDS & entry.keys():
                self._records.append(self._apply_entry(entry, size_bytes))
            if "attached" in entry:
                self.run_id = entry["attached"]
            # The last `sent` line is valid. After a `detach_run` it is 0 and everything is queued
            # again.
            self._confirmed_offset = entry.get("sent", self._confirmed_offset)
        return size_bytes

    def _read_entries(self) -> list[tuple[dict[str, Any], int]]:
        """Return the entries of the file, one a line, each with the byte offset of its end.

        A line that a kill or a full disk cut short becomes an empty entry. If it is the last one, a
        newline is appended to the file.
        """
        entries: list[tuple[dict[str, Any], int]] = []
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            # Complete the line, so that the next record starts on a line of its own.
            self._file.write(b"\n")
            content += b"\n"
        end_offset = 0
        for line_bytes in content.splitlines(keepends=True):
            end_offset += len(line_bytes)
            try:
                entries.append((dict(json.loads(line_bytes)), end_offset))
            except ValueError:
                # Kept as an empty entry, because the last offset must be the size of the file.
                entries.append(({}, end_offset))
        return entries

    def _apply_entry(self, entry: dict[str, Any], end_offset: int) -> QueuedRecord:
        """Convert an entry to a record and update the attributes of the queue from it.

        Args:
            entry: Entry with a content kind as one of its keys.
            end_offset: Byte offset of the end of its line.
        """
        kind: RecordKind = next(key for key in _CONTENT_KINDS if key in entry)
        record = QueuedRecord(kind, entry[kind], entry["time"], entry.get("step", 0), end_offset)
        if kind == "metrics":
            for key in record.value:
                self.last_steps[key] = max(record.step, self.last_steps.get(key, record.step))
            # Metrics after the end mean that a finished run continues.
            self.status = None
        elif kind == "params":
            self.params |= record.value.keys()
        elif kind == "tags":
            self.tags |= record.value
        elif kind == "finish":
            self.status = record.value["status"]
        return record

    def _write_entry(self, entry: Mapping[str, Any]) -> int:
        """Append an entry to the file as a line; return the byte offset of its end."""
        content = _format_entry(entry).encode()
        if self._has_incomplete_line:  # a full disk cut the previous line short
            content = b"\n" + content
        self._has_incomplete_line = True
        remaining = memoryview(content)
        while remaining:
            # An unbuffered file may write only a part; the size stays right if the next part fails.
            num_written = self._file.write(remaining)
            self._size_bytes += num_written
            remaining = remaining[num_written:]
        self._has_incomplete_line = False
        return self._size_bytes


def _format_entry(entry: Mapping[str, Any]) -> str:
    """Return an entry of the queue as JSON text that ends in a newline."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _open_locked(path: Path, timeout_s: float) -> Any:
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
