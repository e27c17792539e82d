"""Tracking backends: picklable values from which any process can open the log of a run.

`$MLFLOW_TRACKING_URI` takes precedence over the server that `kinesweep up` recorded. Only HTTP
servers are accepted: with a database file in the variable, every worker would open the database at
once.
"""

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from kinesweep.core.errors import TrackingError
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.tracking.offline_queue import Spool
from kinesweep.tracking.runlog import MlflowRunLog, RunName
from kinesweep.tracking.server import answers, running_server
from kinesweep.tracking.uploader import Sender

SPOOL = "tracking.jsonl"
_VARIABLE = "MLFLOW_TRACKING_URI"
_HOLD_WAIT_S = 60.0
"""Wait for a spool's lock: the process of a killed run may take a moment to exit.

Training waits equally long for the folder of the run.
"""


class Tracker(Protocol):
    """A tracking backend that opens run logs; picklable.

    `notice` tells the user what to know about the choice of backend; it is empty if there is
    nothing.
    """

    @property
    def notice(self) -> str: ...  # noqa: D102

    def open(self, name: RunName, folder: Path, anew: bool = False) -> RunLogger:
        """Open the log of a run, whose spool is in `folder`.

        Args:
            name: Key, title and tags of the run.
            folder: Folder of the run.
            anew: Begin another run instead of continuing the recorded one.
        """

    def flush_pending(self, root: Path) -> int:
        """Send the queued records of finished runs.

        Args:
            root: Folder that is searched for spools.

        Returns:
            Number of records that are still queued.
        """


@dataclass(frozen=True)
class NoLogs:
    """A backend that records nothing.

    Attributes:
        notice: Reason, if the user may have expected a record.
    """

    notice: str = ""

    def open(self, name: RunName, folder: Path, anew: bool = False) -> RunLogger:
        """Return a log that discards everything."""
        return NullRunLogger()

    def flush_pending(self, root: Path) -> int:
        """Return 0, because nothing is queued."""
        return 0


@dataclass(frozen=True)
class MlflowLogs:
    """A backend that records runs in one experiment of an MLflow server.

    Attributes:
        uri: Address of the server.
        experiment: Name of the experiment.
        lock: Lock file visible to all processes of the experiment; runs are created under it, one
            at a time.
        notice: Warning about the server, or empty.
    """

    uri: str
    experiment: str
    lock: Path
    notice: str = field(default="", compare=False)

    def open(self, name: RunName, folder: Path, anew: bool = False) -> RunLogger:
        """Open the log of a run; it is the same MLflow run as long as its spool is in `folder`.

        Args:
            name: Key, title and tags of the run.
            folder: Folder of the run.
            anew: Begin another MLflow run because the run is overwritten; the earlier MLflow run
                remains but loses the key.

        Raises:
            TrackingError: If another process is recording this run.
        """
        # Tags may change between processes of a run and are recorded below; the head of a spool is
        # fixed.
        plain = {key: value for key, value in asdict(name).items() if key != "tags"}
        head = {**plain, "experiment": self.experiment}
        spool = Spool(folder / SPOOL, head, _HOLD_WAIT_S, anew)
        log = MlflowRunLog(Sender(self.uri, spool, self.lock))
        log.tags({key: str(value) for key, value in name.tags.items()})
        return log

    def flush_pending(self, root: Path) -> int:
        """Send the records that finished runs below a folder could not send before they ended.

        Runs that another process is recording are skipped, because that process sends by itself.

        Args:
            root: Folder that is searched for spools.

        Returns:
            Number of records that are still queued.
        """
        waiting = 0
        found = (Path(place) / SPOOL for place, _, names in os.walk(root) if SPOOL in names)
        for path in sorted(found):
            try:
                # No waiting: a held lock means that the run's own process is alive.
                spool = Spool(path, None, 0.0)
            except TrackingError:
                continue
            if spool.head and spool.pending():
                Sender(self.uri, spool, self.lock).send()
                waiting += len(spool.pending())
            spool.close()
        return waiting


def resolve_tracking(
    wanted: Literal["auto", "mlflow", "none"], home: Path, experiment: str
) -> NoLogs | MlflowLogs:
    """Choose the backend: `$MLFLOW_TRACKING_URI`, otherwise the server that `kinesweep up` started.

    With `auto`, a known server that does not answer is used all the same: records are queued until
    it answers.

    Args:
        wanted: Value of `Recipe.tracking`.
        home: State folder, absolute.
        experiment: Name of the MLflow experiment; one per question.

    Raises:
        TrackingError: If `mlflow` is wanted but no server is known or it does not answer, or if the
            variable does not contain the address of a server.
    """
    if wanted == "none":
        return NoLogs()
    uri, origin = _server(home)
    if not uri:
        why = f"no MLflow server is running for `{home}`; start one with `kinesweep up`"
        if wanted == "mlflow":
            raise TrackingError(
                f"the recipe sets `tracking: mlflow`, but {why}. Or set `{_VARIABLE}` to the"
                " address of another server, or set `tracking=none`"
            )
        return NoLogs(f"nothing is recorded in MLflow: {why}")
    notice = ""
    if not answers(uri):
        notice = f"the MLflow server at {uri} ({origin}) does not answer"
        if wanted == "mlflow":
            raise TrackingError(f"{notice}; start it, or set `tracking=auto` or `tracking=none`")
        notice += "; records are stored on disk and sent once it does"
    return MlflowLogs(uri, experiment, home / "services" / "tracking.lock", notice)


def known_server(home: Path) -> str:
    """Return the address of the server that would be used, or an empty string."""
    return _server(home)[0]


def _server(home: Path) -> tuple[str, str]:
    """Return the address of the server that would be used, and where it is configured.

    Raises:
        TrackingError: If the variable does not contain the address of a server.
    """
    uri = os.environ.get(_VARIABLE, "").strip().rstrip("/")
    if not uri:
        running = running_server(home)
        return (running.address if running else ""), "`kinesweep up`"
    if not re.match(r"https?://", uri):
        raise TrackingError(
            f"`{_VARIABLE}` is `{uri}`, which is not the address of a server (http://…); unset it"
            " to use the server of `kinesweep up`, or set `tracking=none`"
        )
    return uri, _VARIABLE
