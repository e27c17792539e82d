"""Background processes that outlive the command that started them: start once, find again, stop.

A service is recorded in `<state folder>/services/<name>.json`. Because the kernel reuses pids, the
record also contains the start time of the process, and nothing is ever stopped by name. Each
service leads a process group of its own, so its children are stopped with it even if it died before
them. For short-lived work use a plain subprocess.
"""

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
from kinesweep.core.io import hold_lock_file, read_json, write_json

_CLOCK_SLACK_S = 1.0
"""Two readings of a process's start time agree within the kernel's clock ticks."""
_POLL_S = 0.1
_TAIL_LINES = 15


@dataclass(frozen=True)
class BackgroundService:
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
    def is_alive(self) -> bool:
        """Return whether the recorded process is running; a reused pid does not count."""
        return _is_same_process(self.pid, self.started)


def get_service_record_path(state_dir: Path, name: str) -> Path:
    """Return the path of the record of the service `name` in a state folder."""
    return state_dir / "services" / f"{name}.json"


def read_service_record(state_dir: Path, name: str) -> BackgroundService | None:
    """Read the record of the service `name`, which may have ended.

    Returns:
        The service; None if there is no readable record.
    """
    try:
        return BackgroundService(**read_json(get_service_record_path(state_dir, name)))
    # TypeError: a record by another version may lack keys or have additional ones.
    except (OSError, ValueError, TypeError):
        return None


def write_service_record(state_dir: Path, service: BackgroundService) -> None:
    """Write the record of a service atomically, replacing the record of an earlier one."""
    path = get_service_record_path(state_dir, service.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(service))


@contextmanager
def hold_service_lock(state_dir: Path, name: str) -> Iterator[None]:
    """Hold the lock under which the service `name` is started and stopped.

    Another command that asks for the lock waits until it is released.
    """
    with hold_lock_file(get_service_record_path(state_dir, name).with_suffix(".lock")):
        yield


def start_service(
    state_dir: Path,
    name: str,
    command: Sequence[str],
    address: str,
    env: Mapping[str, str] | None = None,
) -> BackgroundService:
    """Start a process that outlives this one, and write its service record.

    Its output is appended to `logs/<name>.log` in the state folder. The caller holds the lock
    of the service (`hold_service_lock`).

    Args:
        state_dir: State folder; also the working directory of the process.
        name: Name of the service.
        command: Program and arguments.
        address: Address at which the service will answer.
        env: Environment variables of the process besides those of this one.

    Returns:
        The service; it may not answer yet, so call `wait_until_ready`.

    Raises:
        OSError: If the program cannot be started.
    """
    log_path = state_dir / "logs" / f"{name}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    # Append, because the log of the previous start shows why that one ended.
    with log_path.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            cwd=state_dir,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C in the terminal does not reach the service, and its pid
            # becomes the id of its process group.
            start_new_session=True,
        )
    service = BackgroundService(
        name, process.pid, _get_start_time(process.pid), address, str(log_path)
    )
    write_service_record(state_dir, service)
    return service


def wait_until_ready(
    service: BackgroundService, is_ready: Callable[[], bool], timeout_s: float
) -> None:
    """Wait until a started service is ready; stop it if it does not become ready.

    Args:
        service: Service just started by this process.
        is_ready: Callback that returns True once the service answers.
        timeout_s: Longest wait in seconds.

    Raises:
        TrackingError: If the service exits or does not answer in time; the message shows the end of
            its log.
    """
    deadline = time.monotonic() + timeout_s
    while not is_ready():
        has_exited = not service.is_alive
        if has_exited or time.monotonic() > deadline:
            # Also after an exit: children of the process may have outlived it.
            stop_service(service)
            reason = (
                "exited while starting" if has_exited else f"did not answer within {timeout_s:g} s"
            )
            raise TrackingError(
                f"the {service.name} server {reason}. The last lines of `{service.log}`:\n"
                f"{read_log_tail(Path(service.log))}"
            )
        time.sleep(_POLL_S)


def stop_service(service: BackgroundService, timeout_s: float = 10.0) -> bool:
    """Stop a service and its children: SIGTERM first, SIGKILL after `timeout_s`.

    The service record is kept, so that the next start can find the previous address.

    Args:
        service: Recorded service.
        timeout_s: Time to exit after each signal, in seconds.

    Returns:
        Whether any of its processes was running before the call.
    """
    # Read before the first signal, after which the processes may be gone.
    was_running = bool(_list_group_processes(service))
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        # Listed again for each signal: some processes may have exited, others may have started.
        for process in _list_group_processes(service):
            _send_signal(process, signal_number)
        if _wait_for_exit(service, timeout_s):
            break
    return was_running


def read_log_tail(log_path: Path) -> str:
    """Return the last 15 lines of a log, indented; `(no log)` if it cannot be read."""
    try:
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])


def _list_group_processes(service: BackgroundService) -> list[psutil.Process]:
    """Return the running processes of a service's group.

    The id of the group is the pid of its leader, which the kernel assigns to no other process while
    the group exists. If a process with that pid started at another time, the group is no longer
    this service's.
    """
    # A dead leader (zombie) with live children is still this service's group.
    if psutil.pid_exists(service.pid) and not service.is_alive and not _has_exited(service.pid):
        return []
    processes = []
    for process in psutil.process_iter():
        try:
            same_group = os.getpgid(process.pid) == service.pid
            # Members start after their leader; an older process means that the id was reused.
            started_after_leader = process.create_time() >= service.started - _CLOCK_SLACK_S
            if same_group and started_after_leader and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        # Processes may exit during the scan, and those of other users may not be inspected.
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return processes


def _send_signal(process: psutil.Process, signal_number: int) -> None:
    """Send a signal to a process; nothing happens if it has exited meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal_number)


def _wait_for_exit(service: BackgroundService, timeout_s: float) -> bool:
    """Wait until all processes of a service have exited, for at most `timeout_s` seconds.

    Returns:
        True if all of them have exited, False if one is still running.
    """
    deadline = time.monotonic() + timeout_s
    while _list_group_processes(service):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _get_start_time(pid: int) -> float:
    """Return the start time of a process in seconds since the epoch.

    Raises:
        psutil.Error: If there is no such process or it may not be inspected.
    """
    return float(psutil.Process(pid).create_time())


def _is_same_process(pid: int, started: float) -> bool:
    """Return whether a running process has this pid and start time."""
    try:
        return abs(_get_start_time(pid) - started) <= _CLOCK_SLACK_S and not _has_exited(pid)
    except psutil.Error:
        return False


def _has_exited(pid: int) -> bool:
    """Return whether a process is gone or a zombie, that is, has exited but was not waited for."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
