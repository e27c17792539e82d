"""A process that goes on after the command that started it: started once, found again, stopped.

What is known of it lies in `<home>/services/<name>.json`. A pid alone says nothing (numbers are
used again), so the moment at which the process began stands beside it, and nothing is ever stopped
by name. Each service leads a process group of its own, so that its children go with it, also when
it died before them. Not for short work: a subprocess does that.
"""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from kinesweep.core.errors import TrackingError

_CLOCK_SLACK_S = 1.0
"""Two readings of one process's start agree within the kernel's ticks."""
_POLL_S = 0.1
_TAIL_LINES = 15


@dataclass(frozen=True)
class Service:
    """A recorded process.

    Attributes:
        name: of the service, `mlflow` or `ray`.
        pid: of the leader of its process group.
        started: when that process began, seconds since the epoch.
        address: where it answers.
        log: what it prints.
    """

    name: str
    pid: int
    started: float
    address: str
    log: str

    @property
    def alive(self) -> bool:
        """Whether this very process runs."""
        return _is_ours(self.pid, self.started)


def record_path(home: Path, name: str) -> Path:
    """Where a service of a state folder is recorded."""
    return home / "services" / f"{name}.json"


def recorded(home: Path, name: str) -> Service | None:
    """The service that was started last, running or not; None when there was none."""
    try:
        return Service(**json.loads(record_path(home, name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def record(home: Path, service: Service) -> None:
    """Writes a service down, in one step."""
    path = record_path(home, service.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(asdict(service), indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


@contextmanager
def starting(home: Path, name: str) -> Iterator[None]:
    """Keeps two commands from starting one service at the same time; the second one waits."""
    path = record_path(home, name).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def start(
    home: Path,
    name: str,
    command: Sequence[str],
    address: str,
    env: Mapping[str, str] | None = None,
) -> Service:
    """Starts and records a process that outlives this one. Hold `starting` around it.

    Args:
        home: the state folder; also the process's working folder.
        name: of the service.
        command: program and arguments.
        address: where it will answer.
        env: added to this process's environment.
    """
    log = home / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # The log grows over starts: why the last one ended is worth keeping.
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            cwd=home,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = Service(name, process.pid, _began(process.pid), address, str(log))
    record(home, service)
    return service


def wait_until(service: Service, ready: Callable[[], bool], timeout_s: float) -> None:
    """Waits for a started service; stops it when it does not come up.

    Args:
        service: just started by this process.
        ready: whether it answers.
        timeout_s: how long it may take.

    Raises:
        TrackingError: it ended or does not answer in time; with the end of its log.
    """
    give_up = time.monotonic() + timeout_s
    while not ready():
        ended = not service.alive
        if ended or time.monotonic() > give_up:
            stop(service)
            why = "ended at once" if ended else f"did not answer within {timeout_s:g} s"
            raise TrackingError(
                f"the {service.name} server {why}. The end of `{service.log}`:\n"
                f"{tail(Path(service.log))}"
            )
        time.sleep(_POLL_S)


def stop(service: Service, timeout_s: float = 10.0) -> bool:
    """Ends a service and its children: asked first, killed after `timeout_s`.

    Returns:
        Whether anything of it ran.
    """
    ours = _members(service)
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, timeout_s)):
        for process in _members(service):
            _signal(process, number)
        if not _wait(service, patience_s):
            break
    return bool(ours)


def tail(log: Path) -> str:
    """The last lines of a log, indented."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])


def _members(service: Service) -> list[psutil.Process]:
    """Running processes of a service's group.

    The group's number is its leader's pid, which the kernel gives to nobody while the group lives.
    A leader that began at another time shows that the group is somebody else's.
    """
    if psutil.pid_exists(service.pid) and not service.alive and not _is_dead(service.pid):
        return []
    found = []
    for process in psutil.process_iter():
        try:
            same_group = os.getpgid(process.pid) == service.pid
            later = process.create_time() >= service.started - _CLOCK_SLACK_S
            if same_group and later and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return found


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _wait(service: Service, timeout_s: float) -> bool:
    """Waits for the end of a service; whether anything is left of it."""
    give_up = time.monotonic() + timeout_s
    while left := bool(_members(service)):
        if time.monotonic() > give_up:
            break
        time.sleep(_POLL_S)
    return left


def _began(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


def _is_ours(pid: int, started: float) -> bool:
    try:
        return abs(_began(pid) - started) <= _CLOCK_SLACK_S and not _is_dead(pid)
    except psutil.Error:
        return False


def _is_dead(pid: int) -> bool:
    """Whether a process has ended and only its parent has not asked for its exit code."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
