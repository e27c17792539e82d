"""What a run has to say, on disk before it is sent: one JSON line a record, appended.

Every record gets its time here, once; the server takes a point with the same key, step and time as
the same point, so sending a line again does no harm. A line `sent` says up to where the server has
answered. From the file a later process of the run knows which steps were recorded already and does
not record them again. A line of 20 metrics costs 0.14 ms; nothing is brought to the disk by force,
which a killed process needs not.
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

Kind = Literal["tags", "params", "metrics", "artifact", "dataset", "finish"]
_CONTENT: frozenset[Kind] = frozenset(get_args(Kind))
_RETRY_S = 0.1


@dataclass(frozen=True)
class Record:
    """One line.

    Attributes:
        kind: what it is.
        value: plain values.
        time_ms: when it was recorded, milliseconds since the epoch.
        step: of metrics, else 0.
        end: bytes of the spool up to here, this line included.
    """

    kind: Kind
    value: dict[str, Any]
    time_ms: int
    step: int
    end: int


class Spool:
    """The file of one run, held by one process at a time.

    Args:
        path: the file; made when missing.
        head: what names the run; written once, the first one stays, with a `life` of its own.
        wait_s: how long to wait for another process to let go (a killed one does at once).
        anew: drop what an earlier run left there.

    Attributes:
        head: as in the file.
        run_id: of the MLflow run, once known.
        marks: metric → highest step recorded.
        params: names that have a value.
        tags: as recorded last.
        status: as recorded last, or None while the run goes on.

    Raises:
        TrackingError: another process writes there.
    """

    def __init__(
        self, path: Path, head: Mapping[str, Any] | None, wait_s: float, anew: bool = False
    ) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _hold(path, wait_s)
        if anew:
            self._file.truncate(0)
        self._lock = threading.Lock()
        self.head: dict[str, Any] = {}
        self.run_id: str | None = None
        self.marks: dict[str, int] = {}
        self.params: set[str] = set()
        self.tags: dict[str, str] = {}
        self.status: str | None = None
        self._sent = 0
        self._torn = False
        self._records: list[Record] = []
        self._size = self._read()
        if not self.head and head is not None:
            self.head = {**head, "life": uuid.uuid4().hex}
            self._write({"run": self.head})

    def append(self, kind: Kind, value: Mapping[str, Any], step: int = 0) -> Record:
        """Records something now."""
        line = {kind: dict(value), "time": time.time_ns() // 1_000_000}
        if kind == "metrics":
            line["step"] = step
        with self._lock:
            record = self._record(line, self._write(line))
            self._records.append(record)
        return record

    def pending(self) -> list[Record]:
        """What the server has not answered for, in order."""
        with self._lock:
            return [record for record in self._records if record.end > self._sent]

    def acknowledge(self, record: Record) -> None:
        """The server has everything up to a record."""
        with self._lock:
            self._sent = record.end
            self._records = [r for r in self._records if r.end > self._sent]
            self._write({"sent": self._sent})

    def attach(self, run_id: str) -> None:
        """Remembers the MLflow run."""
        with self._lock:
            self.run_id = run_id
            self._write({"attached": run_id})

    def detach(self) -> None:
        """The MLflow run is gone: everything that still stands here must be sent to another."""
        with self._lock:
            self.run_id, self._sent = None, 0
            self._write({"attached": None, "sent": 0})
            self._records = []
            for line, end in self._lines():
                if _CONTENT & line.keys():
                    self._records.append(self._record(line, end))

    def close(self) -> None:
        """Lets go of the file; once all is sent, only what later processes must know stays."""
        with self._lock:
            if self._file.closed:
                return
            if self._sent and not any(r.end > self._sent for r in self._records):
                self._compact()
            self._file.close()

    def _compact(self) -> None:
        """Replaces sent records by their sum."""
        known = {
            "marks": self.marks,
            "params": sorted(self.params),
            "tags": self.tags,
            "status": self.status,
        }
        lines: list[dict[str, Any]] = [
            {"run": self.head},
            {"attached": self.run_id},
            {"known": known},
        ]
        beside = self.path.with_suffix(".new")
        beside.write_text("".join(_text(line) for line in lines), encoding="utf-8")
        beside.replace(self.path)

    def _read(self) -> int:
        """Takes in what earlier processes wrote; returns the size in bytes."""
        size = 0
        for line, size in self._lines():
            if "run" in line:
                self.head = line["run"]
            elif "known" in line:
                known = line["known"]
                self.marks, self.params = known["marks"], set(known["params"])
                self.tags, self.status = known["tags"], known["status"]
            elif _CONTENT & line.keys():
                self._records.append(self._record(line, size))
            if "attached" in line:
                self.run_id = line["attached"]
            self._sent = line.get("sent", self._sent)
        return size

    def _lines(self) -> list[tuple[dict[str, Any], int]]:
        """Whole lines with their ends; what a kill or a full disk cut short is passed over."""
        found: list[tuple[dict[str, Any], int]] = []
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            self._file.write(b"\n")
            content += b"\n"
        end = 0
        for text in content.splitlines(keepends=True):
            end += len(text)
            try:
                found.append((dict(json.loads(text)), end))
            except ValueError:
                found.append(({}, end))
        return found

    def _record(self, line: dict[str, Any], end: int) -> Record:
        """A line as a record, noted in what is known."""
        kind: Kind = next(key for key in _CONTENT if key in line)
        record = Record(kind, line[kind], line["time"], line.get("step", 0), end)
        if kind == "metrics":
            for key in record.value:
                self.marks[key] = max(record.step, self.marks.get(key, record.step))
        elif kind == "params":
            self.params |= record.value.keys()
        elif kind == "tags":
            self.tags |= record.value
        self.status = record.value["status"] if kind == "finish" else self._status_after(kind)
        return record

    def _status_after(self, kind: Kind) -> str | None:
        """More measurements mean that the run goes on; a description changes nothing."""
        return None if kind == "metrics" else self.status

    def _write(self, line: Mapping[str, Any]) -> int:
        """Appends a line; returns where it ends."""
        content = _text(line).encode()
        if self._torn:  # a full disk cut the line before
            content = b"\n" + content
        self._torn = True
        left = memoryview(content)
        while left:
            written = self._file.write(left)
            self._size += written
            left = left[written:]
        self._torn = False
        return self._size


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


def _hold(path: Path, wait_s: float) -> Any:
    """The file, opened for appending (unbuffered) and locked."""
    give_up = time.monotonic() + wait_s
    while True:
        file = path.open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError:
            pass
        file.close()  # held, or replaced by its last holder meanwhile
        if time.monotonic() > give_up:
            raise TrackingError(f"another process is recording the run of `{path}`; one is allowed")
        time.sleep(_RETRY_S)
