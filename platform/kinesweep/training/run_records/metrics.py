"""`metrics.jsonl`: the measurements of a run, one JSON object per line, without clock times.

An uninterrupted run and one that was killed and resumed write the same bytes, because resuming
first removes the lines after the checkpoint.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinesweep.core.io import write_text
from kinesweep.core.run_logger import RunLogger


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read all complete lines; a last line that was cut off by a kill is ignored."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    # Every complete line ends with a newline, so the last item is empty or incomplete.
    return [json.loads(line) for line in lines[:-1]]


class MetricsFile:
    """A writer that appends to `metrics.jsonl` of a run.

    Args:
        path: Path of the file.
        step: Step from which the run continues; later lines are removed.
    """

    def __init__(self, path: Path, step: int) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= step]
        write_text(path, "".join(map(_line, kept)))
        self._file = path.open("a", encoding="utf-8")

    def add(self, row: Mapping[str, float | int]) -> None:
        """Append one line and pass it to the operating system."""
        self._file.write(_line(row))
        self._file.flush()

    def sync(self) -> None:
        """Flush all lines to disk; must precede the publication of a checkpoint."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Recorder:
    """A recorder that writes each measurement to `metrics.jsonl` and to the run log.

    Args:
        file: Writer of `metrics.jsonl`.
        log: Run log of the tracker; also receives clock times.
    """

    def __init__(self, file: MetricsFile, log: RunLogger) -> None:
        self._file = file
        self._log = log

    def record(
        self, step: int, samples: int, values: Mapping[str, float], clock: Mapping[str, float]
    ) -> None:
        """Record one measurement.

        Args:
            step: Number of optimizer steps done.
            samples: Number of clips seen.
            values: Reproducible measurements, written to both.
            clock: Clock times, written to the run log only.
        """
        # JSON has no infinities. A diverged loss is therefore omitted rather than written as a
        # number.
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        self._file.add({"step": step, "samples": samples, **finite})
        self._log.metrics({"samples": samples, **finite, **clock}, step)

    def sync(self) -> None:
        """Flush `metrics.jsonl` to disk."""
        self._file.sync()

    def close(self) -> None:
        """Close `metrics.jsonl`; the caller closes the run log."""
        self._file.close()


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"
