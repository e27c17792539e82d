"""`metrics.jsonl`: what a run measured, one JSON object a line, no clock in it.

An uninterrupted run and a killed and resumed one write the same bytes: lines after the checkpoint
that a run resumes from are cut off before it goes on.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinesweep.core.runlog import RunLog
from kinesweep.training.files import write_text


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last one that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


class MetricsFile:
    """Appends to a run's `metrics.jsonl`.

    Args:
        path: the file.
        step: the step that the run goes on from; what was measured later is removed.
    """

    def __init__(self, path: Path, step: int) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= step]
        write_text(path, "".join(map(_line, kept)))
        self._file = path.open("a", encoding="utf-8")

    def add(self, row: Mapping[str, float | int]) -> None:
        """Appends one line and hands it to the operating system."""
        self._file.write(_line(row))
        self._file.flush()

    def sync(self) -> None:
        """Brings all lines to the disk; done before a checkpoint counts."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Nothing may be added after this."""
        self._file.close()


class Recorder:
    """Writes each measurement to `metrics.jsonl` and to the run's log.

    Args:
        file: the run's own record.
        log: the tracker's; it also gets what a clock measured.
    """

    def __init__(self, file: MetricsFile, log: RunLog) -> None:
        self._file = file
        self._log = log

    def record(
        self, step: int, samples: int, values: Mapping[str, float], clock: Mapping[str, float]
    ) -> None:
        """One measurement of a step."""
        # JSON has no infinities; a diverged loss is recorded as missing, not as a number.
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        self._file.add({"step": step, "samples": samples, **finite})
        self._log.metrics({"samples": samples, **finite, **clock}, step)

    def sync(self) -> None:
        """Brings `metrics.jsonl` to the disk."""
        self._file.sync()

    def close(self) -> None:
        """Ends the file; the log is the caller's."""
        self._file.close()


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"
