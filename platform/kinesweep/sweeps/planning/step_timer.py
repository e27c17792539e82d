"""Durations of a run's parts, measured by a run logger that records times instead of metrics."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from kinesweep.core.run_logger import NullRunLogger, RunLogger, RunStatus


@dataclass(frozen=True)
class StepTiming:
    """The measured durations of one configuration.

    Attributes:
        start_s: Seconds from the start of a run to its first batch.
        step_s: Seconds per optimizer step.
        evaluation_s: Seconds per evaluation during training.
        end_s: Seconds from the last evaluation to the result of a search run.
        samples: Number of clips per step.
    """

    start_s: float
    step_s: float
    evaluation_s: float
    end_s: float
    samples: float


@dataclass(frozen=True)
class StepTimerFactory:
    """A picklable `RunLoggerFactory` that opens the `StepTimer` of a run.

    Attributes:
        log_dir: Folder of the logs; each is named like the run folder.
    """

    log_dir: Path

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the `StepTimer` of the run with the given folder."""
        return StepTimer(self.log_dir / f"{folder.name}.jsonl")


class StepTimer(NullRunLogger):
    """A run logger that writes the times at which a run starts, logs metrics and ends to a file.

    Args:
        path: File of the log, one JSON line per record.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        # Marks the start of the run: `compute_step_timing` reads the time of the first record.
        self._append_record({})

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics with the current time."""
        self._append_record({"step": step, **values})

    def finish(self, status: RunStatus) -> None:
        """Record the end of the run with the current time."""
        self._append_record({"finish": status})

    def _append_record(self, fields: Mapping[str, Any]) -> None:
        """Append a record with the current time and the worker's process id."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), "pid": os.getpid(), **fields}) + "\n")


def read_timer_records(path: Path) -> list[dict[str, Any]]:
    """Read the records of a `StepTimer` log, oldest first."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_step_timing(path: Path) -> StepTiming:
    """Read the log of a `StepTimer` and compute the durations of the run.

    Raises:
        OSError: If the log cannot be read.
        IndexError: If the run has no evaluation.
        StatisticsError: If the run has logged no training loss.
    """
    return compute_step_timing(read_timer_records(path))


def compute_step_timing(records: Sequence[Mapping[str, Any]]) -> StepTiming:
    """Compute the durations of a run; time between steps is counted as evaluation.

    Args:
        records: Records of the run's `StepTimer`, oldest first.

    Raises:
        IndexError: If the run has no evaluation.
        StatisticsError: If the run has logged no training loss.
    """
    loss_records = [record for record in records if "samples_per_s" in record]
    evaluation_records = [record for record in records if "evaluation_s" in record]
    last_evaluation = evaluation_records[-1]
    samples = last_evaluation["samples"] / last_evaluation["step"]
    # The median is robust to slow first steps.
    step_s = samples / median(record["samples_per_s"] for record in loss_records)
    first_loss = loss_records[0]
    num_steps = last_evaluation["step"] - first_loss["step"]
    # Time between the first logged step and the last evaluation that is not spent on steps.
    remaining_s = last_evaluation["time"] - first_loss["time"] - num_steps * step_s
    return StepTiming(
        start_s=max(0.0, first_loss["time"] - records[0]["time"] - first_loss["step"] * step_s),
        step_s=step_s,
        # With few steps this remainder can be smaller than the measured time, or even negative.
        evaluation_s=max(
            median(record["evaluation_s"] for record in evaluation_records),
            remaining_s / len(evaluation_records),
        ),
        end_s=records[-1]["time"] - last_evaluation["time"],
        samples=samples,
    )
