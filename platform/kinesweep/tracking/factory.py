"""Where runs are recorded: a plain value that any process can open a run's log from."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from kinesweep.core.errors import TrackingError
from kinesweep.core.runlog import NullRunLog, RunLog
from kinesweep.tracking.runlog import MlflowRunLog, RunName
from kinesweep.tracking.server import answers, running_server

SPOOL = "tracking.jsonl"


class RunLogs(Protocol):
    """Opens logs; picklable."""

    def open(self, name: RunName, folder: Path) -> RunLog:
        """The log of a run, whose spool lies in `folder`."""


@dataclass(frozen=True)
class NoLogs:
    """Records nothing."""

    def open(self, name: RunName, folder: Path) -> RunLog:
        """A log that forgets."""
        return NullRunLog()


@dataclass(frozen=True)
class MlflowLogs:
    """Records in one experiment of an MLflow server.

    Attributes:
        uri: the server's address.
        experiment: name of the experiment.
    """

    uri: str
    experiment: str

    def open(self, name: RunName, folder: Path) -> RunLog:
        """The log of a run; the same MLflow run for equal keys."""
        return MlflowRunLog(self.uri, self.experiment, name, folder / SPOOL)


def resolve_tracking(
    wanted: Literal["auto", "mlflow", "none"], home: Path, experiment: str
) -> NoLogs | MlflowLogs:
    """Where runs go: `$MLFLOW_TRACKING_URI`, else the server that `kinesweep up` started.

    Raises:
        TrackingError: `mlflow` is wanted, but no server is known or it does not answer.
    """
    if wanted == "none":
        return NoLogs()
    running = running_server(home)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or (running.address if running else "")
    if uri.startswith(("http://", "https://")) and answers(uri):
        return MlflowLogs(uri, experiment)
    if wanted == "mlflow":
        where = f"the server at {uri} does not answer" if uri else "no server is known"
        raise TrackingError(
            f"`tracking: mlflow` is asked for, but {where}; run `kinesweep up`, set"
            " MLFLOW_TRACKING_URI to an http address, or say `tracking=none`"
        )
    return NoLogs()
