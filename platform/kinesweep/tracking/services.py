"""Processes that outlive a command: started, recorded in the state folder, found again, stopped.

A record names process id and start time: an id alone may belong to somebody else by now. Each
service leads a process group of its own, so that Ctrl-C in a terminal does not reach it.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from kinesweep.core.errors import TrackingError

_STOP_WAIT_S = 15.0
_POLL_S = 0.2
_TAIL_LINES = 15


@dataclass(frozen=True)
class Service:
    """A recorded process.

    Attributes:
        name: `mlflow`, `ray`.
        pid: its process id, which leads its process group.
        started: its start time in seconds since the epoch, as the system tells it.
        address: where it answers.
    """

    name: str
    pid: int
    started: float
    address: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def find_service(home: Path, name: str) -> Service | None:
    """The recorded service, if it still runs."""
    try:
        service = Service(**json.loads(_record(home, name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return service if service.alive else None


def start_service(
    home: Path,
    name: str,
    command: Sequence[str],
    env: Mapping[str, str],
    address: str,
    ready: Callable[[], bool],
    wait_s: float = 60.0,
) -> Service:
    """Starts a process and waits until it answers.

    Args:
        home: the state folder; the log goes to `logs/NAME.log`.
        name: under which it is recorded.
        command: what to run.
        env: added to this process's environment.
        address: where it will answer.
        ready: whether it answers.
        wait_s: how long that may take.

    Raises:
        TrackingError: it ended, or did not answer in time; with the end of its log.
    """
    log = home / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            cwd=home,
            start_new_session=True,
        )
    service = Service(name, process.pid, psutil.Process(process.pid).create_time(), address)
    record = _record(home, name)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(asdict(service)), encoding="utf-8")
    give_up = time.monotonic() + wait_s
    while not ready():
        ended = process.poll() is not None
        if ended or time.monotonic() > give_up:
            stop_service(home, name)
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            what = "ended at once" if ended else f"did not answer at {address} in {wait_s:.0f} s"
            raise TrackingError(f"`{name}` {what}; the end of {log}:\n{tail}")
        time.sleep(_POLL_S)
    return service


def stop_service(home: Path, name: str) -> bool:
    """Stops a recorded service and all its children. Returns whether it was running."""
    service = find_service(home, name)
    _record(home, name).unlink(missing_ok=True)
    if service is None:
        return False
    family = [psutil.Process(service.pid)]
    family += family[0].children(recursive=True)
    os.killpg(service.pid, signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=_STOP_WAIT_S)
    for process in left:
        process.kill()
    return True


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _record(home: Path, name: str) -> Path:
    return home / "services" / f"{name}.json"
