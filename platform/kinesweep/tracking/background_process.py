"""Background processes that outlive the command that started them: start once, find again, stop.

A service is recorded in `<home>/services/<name>.json`. Because the kernel reuses pids, the record
also contains the start time of the process, and nothing is ever stopped by name. Each service leads
a process group of its own, so its children are stopped with it even if it died before them. For
short-lived work use a plain subprocess.
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
"""Two readings of a process's start time agree within the kernel's clock ticks."""
_POLL_S = 0.1
_TAIL_LINES = 15


@dataclass(frozen=True)
class Service:
    """A recorded background process.

    Attributes:
        name: Name of the service, `mlflow` or `ray`.
        pid: Process id; also the id of its process group.
        started: Start time of the process in seconds since the epoch.
        address: Address at which it answers.
        log: Path of the file that receives its output.
    """

    name: str
    pid: int
    started: float
    address: str
    log: str

    @property
    def alive(self) -> bool:
        """Return whether this very process is running."""
        return _is_ours(self.pid, self.started)


def record_path(home: Path, name: str) -> Path:
    """Return the path of the record of a service."""
    return home / "services" / f"{name}.json"


def recorded(home: Path, name: str) -> Service | None:
    """Return the service that was started last, running or not; None if there is none."""
    try:
        return Service(**json.loads(record_path(home, name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def record(home: Path, service: Service) -> None:
    """Write the record of a service atomically."""
    path = record_path(home, service.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(asdict(service), indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


@contextmanager
def starting(home: Path, name: str) -> Iterator[None]:
    """Hold the lock under which a service is started; a second command waits for it."""
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
    """Start and record a process that outlives this one; the caller must hold `starting`.

    Args:
        home: State folder; also the working directory of the process.
        name: Name of the service.
        command: Program and arguments.
        address: Address at which the service will answer.
        env: Variables added to the environment of this process.

    Returns:
        The service; it may not answer yet (`wait_until`).
    """
    log = home / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # Append, because the log of the previous start shows why that one ended.
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            cwd=home,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C in the terminal does not reach the service, and its pid
            # becomes the id of its process group.
            start_new_session=True,
        )
    service = Service(name, process.pid, _began(process.pid), address, str(log))
    record(home, service)
    return service


def wait_until(service: Service, ready: Callable[[], bool], timeout_s: float) -> None:
    """Wait until a started service is ready; stop it if it does not become ready.

    Args:
        service: Service just started by this process.
        ready: Function that returns whether the service answers.
        timeout_s: Longest wait in seconds.

    Raises:
        TrackingError: If the service exits or does not answer in time; the message shows the end of
            its log.
    """
    give_up = time.monotonic() + timeout_s
    while not ready():
        ended = not service.alive
        if ended or time.monotonic() > give_up:
            stop(service)
            why = "exited while starting" if ended else f"did not answer within {timeout_s:g} s"
            raise TrackingError(
                f"the {service.name} server {why}. The last lines of `{service.log}`:\n"
                f"{tail(Path(service.log))}"
            )
        time.sleep(_POLL_S)


def stop(service: Service, timeout_s: float = 10.0) -> bool:
    """Stop a service and its children: SIGTERM first, SIGKILL after `timeout_s`.

    Args:
        service: Recorded service.
        timeout_s: Time to exit after each signal, in seconds.

    Returns:
        Whether any of its processes was running.
    """
    ours = _members(service)
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, timeout_s)):
        # Listed again for each signal: some processes may have exited, others may have started.
        for process in _members(service):
            _signal(process, number)
        if not _wait(service, patience_s):
            break
    return bool(ours)


def tail(log: Path) -> str:
    """Return the last lines of a log, indented."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])


def _members(service: Service) -> list[psutil.Process]:
    """Return the running processes of a service's group.

    The id of the group is the pid of its leader, which the kernel assigns to no other process while
    the group exists. If a process with that pid started at another time, the group is no longer
    this service's.
    """
    # A dead leader (zombie) with live children is still this service's group.
    if psutil.pid_exists(service.pid) and not service.alive and not _is_dead(service.pid):
        return []
    found = []
    for process in psutil.process_iter():
        try:
            same_group = os.getpgid(process.pid) == service.pid
            # Members start after their leader; an older process means that the id was reused.
            later = process.create_time() >= service.started - _CLOCK_SLACK_S
            if same_group and later and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        # Processes may exit during the scan, and those of other users may not be inspected.
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return found


def _signal(process: psutil.Process, number: int) -> None:
    """Send a signal to a process that may have exited meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _wait(service: Service, timeout_s: float) -> bool:
    """Wait until a service has exited; return whether anything of it is left."""
    give_up = time.monotonic() + timeout_s
    while left := bool(_members(service)):
        if time.monotonic() > give_up:
            break
        time.sleep(_POLL_S)
    return left


def _began(pid: int) -> float:
    """Return the start time of a process in seconds since the epoch."""
    return float(psutil.Process(pid).create_time())


def _is_ours(pid: int, started: float) -> bool:
    """Return whether a running process has this pid and start time."""
    try:
        return abs(_began(pid) - started) <= _CLOCK_SLACK_S and not _is_dead(pid)
    except psutil.Error:
        return False


def _is_dead(pid: int) -> bool:
    """Return whether a process has exited, possibly as a zombie that was not waited for."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
