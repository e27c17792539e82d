"""Where a run writes what it measures.

Training knows only this protocol; MLflow's form lives in `tracking`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

RunStatus = Literal["finished", "pruned", "failed", "stopped"]


class RunLog(Protocol):
    """One run's record. One writer a run. No call may raise because a server is away."""

    def params(self, values: Mapping[str, object]) -> None:
        """Records flat parameters; a key keeps its first value."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Records measurements of a step."""

    def artifact(self, path: Path) -> None:
        """Keeps a file."""

    def dataset(self, name: str, digest: str) -> None:
        """Records which data the run saw."""

    def waiting(self) -> int:
        """How many records have not reached the server yet."""

    def finish(self, status: RunStatus) -> None:
        """Ends the record; nothing may follow."""


class NullRunLog:
    """Records nothing (`tracking: none`)."""

    def params(self, values: Mapping[str, object]) -> None:
        """Does nothing."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Does nothing."""

    def artifact(self, path: Path) -> None:
        """Does nothing."""

    def dataset(self, name: str, digest: str) -> None:
        """Does nothing."""

    def waiting(self) -> int:
        """Nothing waits."""
        return 0

    def finish(self, status: RunStatus) -> None:
        """Does nothing."""
