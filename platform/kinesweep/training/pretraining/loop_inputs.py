"""What the trainer of a pretraining run reads and where it writes."""

from dataclasses import dataclass
from pathlib import Path

from kinesweep.data.windows.window_dataset import WindowDataset


@dataclass(frozen=True)
class TrainingData:
    """The windows of a run.

    Attributes:
        dataset: Training batches of this worker by position; a step has as many positions as
            batches are accumulated.
        num_loader_workers: Processes that prepare batches; 0: the worker itself.
    """

    dataset: WindowDataset
    num_loader_workers: int


@dataclass(frozen=True)
class CheckpointStore:
    """Where the checkpoints of a run lie, and which are kept.

    Attributes:
        folder: Folder of all checkpoints of the run.
        keep: Policy for old checkpoints, from `checkpoints.keep`.
        every: Evaluations from one checkpoint to the next, from `checkpoints.every`.
    """

    folder: Path
    keep: str
    every: int = 1
