"""The protocol of a run logger, which records the parameters, metrics and artifacts of one run.

Training depends on this protocol alone; the MLflow implementation is in `tracking`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

RunStatus = Literal["finished", "pruned", "failed", "stopped"]


class RunLogger(Protocol):
    """The logger of one run.

    Each run has exactly one writer. No method may raise because a server is unavailable.
    """

    def log_params(self, values: Mapping[str, object]) -> None:
        """Log flat parameters; a key that was logged before keeps its first value."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log the metrics of an optimizer step."""

    def log_artifact(self, path: Path) -> None:
        """Log a file as an artifact."""

    def log_dataset(self, name: str, digest: str) -> None:
        """Log the name and fingerprint of the data that the run uses."""

    def count_pending_records(self) -> int:
        """Return the number of records that have not reached the server yet."""

    def finish(self, status: RunStatus) -> None:
        """End the run; no other method may be called afterwards."""


class NullRunLogger:
    """A run logger that discards everything (`tracking: none`)."""

    def log_params(self, values: Mapping[str, object]) -> None:
        """Discard the parameters."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Discard the metrics."""

    def log_artifact(self, path: Path) -> None:
        """Ignore the file."""

    def log_dataset(self, name: str, digest: str) -> None:
        """Discard the dataset."""

    def count_pending_records(self) -> int:
        """Return 0, because no record is ever pending."""
        return 0

    def finish(self, status: RunStatus) -> None:
        """Do nothing."""
