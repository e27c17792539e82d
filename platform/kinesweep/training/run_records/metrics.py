"""`metrics.jsonl`: the metrics of a run, one JSON object per line, without timings.

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
    """Read the rows of `metrics.jsonl` in the order of writing.

    A last line that was cut off when the process was killed is ignored.

    Args:
        path: Path of the file.

    Returns:
        A row for each complete line, with `step`, `samples` and the metrics; empty if the file does
        not exist.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    # Every complete line ends with a newline, so the last item is empty or incomplete.
    return [json.loads(line) for line in lines[:-1]]


class MetricsWriter:
    """A writer that appends rows to `metrics.jsonl` of a run.

    Args:
        path: Path of the file.
        step: Step from which the run continues; lines of later steps are removed.
    """

    def __init__(self, path: Path, step: int) -> None:
        rows = [row for row in read_metrics(path) if row["step"] <= step]
        write_text(path, "".join(map(_format_line, rows)))
        self._file = path.open("a", encoding="utf-8")

    def append_row(self, row: Mapping[str, float | int]) -> None:
        """Append one row as a line of JSON and flush it to the operating system."""
        self._file.write(_format_line(row))
        self._file.flush()

    def sync(self) -> None:
        """Flush all lines to disk.

        Call this method before a checkpoint is published: on resuming, the lines up to the
        checkpoint are kept, so they must be on disk.
        """
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class MetricsRecorder:
    """A recorder that writes metrics to `metrics.jsonl` and to the run logger.

    Args:
        writer: Writer of `metrics.jsonl`.
        log: Run logger of the tracker; it also receives timings.
    """

    def __init__(self, writer: MetricsWriter, log: RunLogger) -> None:
        self._writer = writer
        self._log = log

    def record(
        self, step: int, samples: int, metrics: Mapping[str, float], timings: Mapping[str, float]
    ) -> None:
        """Record the metrics of one step; metrics that are not finite are left out.

        Args:
            step: Number of optimizer steps done.
            samples: Number of clips seen by all workers, counting repetitions.
            metrics: Reproducible metrics, written to the file and to the run logger.
            timings: Timings, written to the run logger only, because they are not reproducible.
        """
        # JSON has no infinities. A diverged loss is therefore omitted rather than written as a
        # number.
        finite_metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._writer.append_row({"step": step, "samples": samples, **finite_metrics})
        self._log.log_metrics({"samples": samples, **finite_metrics, **timings}, step)

    def sync(self) -> None:
        """Flush `metrics.jsonl` to disk."""
        self._writer.sync()

    def close(self) -> None:
        """Close `metrics.jsonl`; the caller finishes the run logger."""
        self._writer.close()


def _format_line(row: Mapping[str, Any]) -> str:
    """Format a row as one line of JSON."""
    return json.dumps(row, allow_nan=False) + "\n"
