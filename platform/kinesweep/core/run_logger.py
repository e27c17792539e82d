"""The protocol of a run logger, which records the parameters, metrics and artifacts of one run.

Training depends on this protocol alone; the implementation for trackers is in `tracking`.
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
        """Log parameters of the run; a key that was logged before keeps its first value.

        Args:
            values: Parameter name → value; nested settings have dotted names.
        """

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics at an optimizer step.

        Args:
            values: Metric name → value.
            step: Number of optimizer steps done.
        """

    def log_artifact(self, path: Path) -> None:
        """Log a copy of a file as an artifact of the run."""

    def log_dataset(self, name: str, digest: str) -> None:
        """Log the name and fingerprint of the data that the run uses."""

    def count_pending_records(self) -> int:
        """Return the number of records that have not reached the server yet."""

    def finish(self, status: RunStatus) -> None:
        """End the run with a status; no other method may be called afterwards."""


class NullRunLogger:
    """A run logger that records nothing (`tracking: none`)."""

    def log_params(self, values: Mapping[str, object]) -> None:
        """Do nothing; the parameters are not recorded."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Do nothing; the metrics are not recorded."""

    def log_artifact(self, path: Path) -> None:
        """Do nothing; the file is neither copied nor changed."""

    def log_dataset(self, name: str, digest: str) -> None:
        """Do nothing; name and fingerprint of the data are not recorded."""

    def count_pending_records(self) -> int:
        """Return 0, because there is no server that records could wait for."""
        return 0

    def finish(self, status: RunStatus) -> None:
        """Do nothing; the status of the run is not recorded."""
