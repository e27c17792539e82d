"""Where runs are recorded: a plain value that any process can open a run's log from.

`$MLFLOW_TRACKING_URI` goes before the server that `kinesweep up` recorded. Only servers are spoken
to: a database file in the variable would be opened by every worker at once.
"""

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from kinesweep.core.errors import TrackingError
from kinesweep.core.runlog import NullRunLog, RunLog
from kinesweep.tracking.runlog import MlflowRunLog, RunName
from kinesweep.tracking.sender import Sender
from kinesweep.tracking.server import answers, running_server
from kinesweep.tracking.spool import Spool

SPOOL = "tracking.jsonl"
_VARIABLE = "MLFLOW_TRACKING_URI"
_HOLD_WAIT_S = 60.0
"""A killed run's process may need a moment to die; training waits as long for its folder."""


class RunLogs(Protocol):
    """Opens logs; picklable. `notice` is what people should know of the choice, or empty."""

    @property
    def notice(self) -> str: ...  # noqa: D102

    def open(self, name: RunName, folder: Path, anew: bool = False) -> RunLog:
        """The log of a run, whose spool lies in `folder`."""

    def replay(self, root: Path) -> int:
        """Sends what runs that are over have left; returns how many records still wait."""


@dataclass(frozen=True)
class NoLogs:
    """Records nothing.

    Attributes:
        notice: why, when somebody might have expected a record.
    """

    notice: str = ""

    def open(self, name: RunName, folder: Path, anew: bool = False) -> RunLog:
        """A log that forgets."""
        return NullRunLog()

    def replay(self, root: Path) -> int:
        """Nothing waits."""
        return 0


@dataclass(frozen=True)
class MlflowLogs:
    """Records in one experiment of an MLflow server.

    Attributes:
        uri: the server's address.
        experiment: name of the experiment.
        lock: a file that all processes of the experiment see; runs are made under it, one by one.
        notice: what to mind, or empty.
    """

    uri: str
    experiment: str
    lock: Path
    notice: str = field(default="", compare=False)

    def open(self, name: RunName, folder: Path, anew: bool = False) -> RunLog:
        """The log of a run: the same MLflow run as long as its spool lies in `folder`.

        Args:
            name: of the run.
            folder: the run's own.
            anew: the run is overwritten: begin another MLflow run; the earlier one stays, without
                the key.

        Raises:
            TrackingError: another process is recording this run.
        """
        plain = {key: value for key, value in asdict(name).items() if key != "tags"}
        head = {**plain, "experiment": self.experiment}
        spool = Spool(folder / SPOOL, head, _HOLD_WAIT_S, anew)
        log = MlflowRunLog(Sender(self.uri, spool, self.lock))
        log.tags({key: str(value) for key, value in name.tags.items()})
        return log

    def replay(self, root: Path) -> int:
        """Sends what runs below a folder have left because the server was away when they ended.

        Runs whose writer lives are passed over: it sends by itself.

        Returns:
            Records that still wait.
        """
        waiting = 0
        found = (Path(place) / SPOOL for place, _, names in os.walk(root) if SPOOL in names)
        for path in sorted(found):
            try:
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
    """Where runs go: `$MLFLOW_TRACKING_URI`, else the server that `kinesweep up` started.

    A server that is known but does not answer is used all the same: what is measured waits for it.

    Args:
        wanted: `Recipe.tracking`.
        home: the state folder, absolute.
        experiment: name of the MLflow experiment, one a question.

    Raises:
        TrackingError: `mlflow` is wanted, but no server is known or it does not answer; or the
            variable holds something else than the address of a server.
    """
    if wanted == "none":
        return NoLogs()
    uri, origin = _server(home)
    if not uri:
        why = f"no MLflow server runs for `{home}`; `kinesweep up` starts one"
        if wanted == "mlflow":
            raise TrackingError(
                f"`tracking: mlflow` is asked for, but {why}. Or set {_VARIABLE} to the address of"
                " another one, or say `tracking=none`"
            )
        return NoLogs(f"nothing is recorded in MLflow: {why}")
    notice = ""
    if not answers(uri):
        notice = f"the MLflow server at {uri} ({origin}) does not answer"
        if wanted == "mlflow":
            raise TrackingError(f"{notice}; start it, or say `tracking=auto` or `tracking=none`")
        notice += "; what is measured is kept and sent when it does"
    return MlflowLogs(uri, experiment, home / "services" / "tracking.lock", notice)


def known_server(home: Path) -> str:
    """Address of the server that is meant and runs or is said to, or empty."""
    return _server(home)[0]


def _server(home: Path) -> tuple[str, str]:
    """Address of the server that is meant, or empty, and where it is written."""
    uri = os.environ.get(_VARIABLE, "").strip().rstrip("/")
    if not uri:
        running = running_server(home)
        return (running.address if running else ""), "`kinesweep up`"
    if not re.match(r"https?://", uri):
        raise TrackingError(
            f"{_VARIABLE} is `{uri}`, which is not the address of a server (http://…); unset it to"
            " use the server of `kinesweep up`, or say `tracking=none`"
        )
    return uri, _VARIABLE
