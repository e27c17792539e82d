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
from kinesweep.tracking.mlflow_run_logger import MlflowRunLogger, RunIdentifiers
from kinesweep.tracking.offline_queue import OfflineQueue
from kinesweep.tracking.server import find_running_mlflow_server, is_mlflow_server_healthy
from kinesweep.tracking.uploader import RunUploader

QUEUE_FILE = "tracking.jsonl"
_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_LOCK_TIMEOUT_S = 60.0
"""Longest wait for the lock of an offline queue: a killed process may take a moment to exit.

Training waits equally long for the folder of the run.
"""


class Tracker(Protocol):
    """A tracking backend that opens run loggers; picklable.

    `notice` is a message for the user about the choice of backend, such as a warning that the
    server does not answer; it may be empty.
    """

    @property
    def notice(self) -> str:
        """Return the message for the user, which may be empty."""

    def open_run_logger(
        self, identity: RunIdentifiers, folder: Path, overwrite: bool = False
    ) -> RunLogger:
        """Open the logger of a run, whose offline queue is in `folder`.

        Args:
            identity: Key, title and tags of the run.
            folder: Folder of the run.
            overwrite: Begin another run instead of continuing the recorded one.

        Raises:
            TrackingError: If another process is recording this run.
        """

    def flush_pending(self, root: Path) -> int:
        """Send the queued records of all runs that no process is recording.

        Args:
            root: Folder that is searched for offline queues, with its subfolders.

        Returns:
            Number of records that are still queued.
        """


@dataclass(frozen=True)
class NullTracker:
    """A backend that records nothing.

    Attributes:
        notice: Reason why nothing is recorded, if the user may have expected a record.
    """

    notice: str = ""

    def open_run_logger(
        self, identity: RunIdentifiers, folder: Path, overwrite: bool = False
    ) -> RunLogger:
        """Return a logger that discards everything."""
        return NullRunLogger()

    def flush_pending(self, root: Path) -> int:
        """Return 0, because nothing is queued."""
        return 0


@dataclass(frozen=True)
class MlflowTracker:
    """A backend that records runs in one experiment of an MLflow server.

    Attributes:
        uri: Address of the server.
        experiment: Name of the experiment.
        lock_path: Lock file visible to all processes of the experiment; runs are created under it,
            one at a time.
        notice: Warning about the server; empty if it answers.
    """

    uri: str
    experiment: str
    lock_path: Path
    notice: str = field(default="", compare=False)

    def open_run_logger(
        self, identity: RunIdentifiers, folder: Path, overwrite: bool = False
    ) -> RunLogger:
        """Open the logger of a run, which continues the MLflow run of the queue in `folder`.

        Args:
            identity: Key, title and tags of the run.
            folder: Folder of the run.
            overwrite: Begin another MLflow run because the run is overwritten; the earlier MLflow
                run remains but loses the key.

        Raises:
            TrackingError: If another process is recording this run.
        """
        # Tags may change between processes of a run and are recorded below; the header of a queue
        # is fixed.
        fixed_fields = {key: value for key, value in asdict(identity).items() if key != "tags"}
        header = {**fixed_fields, "experiment": self.experiment}
        queue = OfflineQueue(folder / QUEUE_FILE, header, _LOCK_TIMEOUT_S, overwrite)
        run_logger = MlflowRunLogger(RunUploader(self.uri, queue, self.lock_path))
        run_logger.set_tags({key: str(value) for key, value in identity.tags.items()})
        return run_logger

    def flush_pending(self, root: Path) -> int:
        """Send the queued records of all runs below a folder that no process is recording.

        These are runs that ended before the server had all of their records. A run that another
        process is recording is skipped, because that process sends by itself. If the server is
        unavailable, a warning is logged and the records stay queued.

        Args:
            root: Folder that is searched for offline queues, with its subfolders.

        Returns:
            Number of records that are still queued, without those of skipped runs.
        """
        num_pending = 0
        queue_paths = (
            Path(folder) / QUEUE_FILE
            for folder, _, file_names in os.walk(root)
            if QUEUE_FILE in file_names
        )
        for path in sorted(queue_paths):
            try:
                # No waiting: a held lock means that the run's own process is alive.
                queue = OfflineQueue(path, None, 0.0)
            except TrackingError:
                continue
            if queue.header and queue.get_pending_records():
                RunUploader(self.uri, queue, self.lock_path).send_pending()
                num_pending += len(queue.get_pending_records())
            queue.close()
        return num_pending


def resolve_tracker(
    mode: Literal["auto", "mlflow", "none"], state_dir: Path, experiment: str
) -> NullTracker | MlflowTracker:
    """Choose the backend: `$MLFLOW_TRACKING_URI`, otherwise the server that `kinesweep up` started.

    The server is asked whether it is healthy, which takes up to 2 s. With `auto`, a known server
    that does not answer is used all the same: records are queued until it answers.

    Args:
        mode: Value of `Recipe.tracking`.
        state_dir: State folder, absolute.
        experiment: Name of the MLflow experiment; one per question.

    Returns:
        The backend; one that records nothing for `none`, or for `auto` without a known server.

    Raises:
        TrackingError: If `mode` is `mlflow` but no server is known or it does not answer, or if
            `$MLFLOW_TRACKING_URI` does not contain the address of a server.
    """
    if mode == "none":
        return NullTracker()
    uri, origin = _find_server(state_dir)
    if not uri:
        reason = f"no MLflow server is running for `{state_dir}`; start one with `kinesweep up`"
        if mode == "mlflow":
            raise TrackingError(
                f"the recipe sets `tracking: mlflow`, but {reason}. Or set `{_URI_VARIABLE}` to the"
                " address of another server, or set `tracking=none`"
            )
        return NullTracker(f"nothing is recorded in MLflow: {reason}")
    notice = ""
    if not is_mlflow_server_healthy(uri):
        notice = f"the MLflow server at {uri} ({origin}) does not answer"
        if mode == "mlflow":
            raise TrackingError(f"{notice}; start it, or set `tracking=auto` or `tracking=none`")
        notice += "; records are stored on disk and sent once it does"
    return MlflowTracker(uri, experiment, state_dir / "services" / "tracking.lock", notice)


def find_server_uri(state_dir: Path) -> str:
    """Return the address of the server that `resolve_tracker` would use; empty if none is known.

    Raises:
        TrackingError: If `$MLFLOW_TRACKING_URI` does not contain the address of a server.
    """
    return _find_server(state_dir)[0]


def _find_server(state_dir: Path) -> tuple[str, str]:
    """Find the server that `resolve_tracker` uses.

    Returns:
        The address of the server, empty if none is known; and where the address comes from, for
        messages.

    Raises:
        TrackingError: If `$MLFLOW_TRACKING_URI` does not contain the address of a server.
    """
    uri = os.environ.get(_URI_VARIABLE, "").strip().rstrip("/")
    if not uri:
        running_server = find_running_mlflow_server(state_dir)
        return (running_server.address if running_server else ""), "`kinesweep up`"
    if not re.match(r"https?://", uri):
        raise TrackingError(
            f"`{_URI_VARIABLE}` is `{uri}`, which is not the address of a server (http://…); unset"
            " it to use the server of `kinesweep up`, or set `tracking=none`"
        )
    return uri, _URI_VARIABLE
