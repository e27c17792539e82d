"""Ray on this machine: connect to a cluster, start a head on loopback, submit jobs.

A local head and its dashboard listen on 127.0.0.1 only and require a token that is stored in the
state folder, so nothing is written to the home folder and no other user can run code here.
"""

import fcntl
import os
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.error import URLError

from kinesweep.cli.console import console
from kinesweep.cli.display import sweep_display
from kinesweep.core.errors import KinesweepError, ResourceError
from kinesweep.core.paths import state_home
from kinesweep.pipelines.ray_messages import MESSAGES, job_client_log_off, job_lines, native_log_off
from kinesweep.tracking.background_process import (
    Service,
    recorded,
    start,
    starting,
    stop,
    wait_until,
)
from kinesweep.tracking.server import launch_server, running_server, stop_server, wait_for_server

NAME = "ray"
TOKEN = "ray_token"
# Tells a job which local head it belongs to. Ray itself would read the machine-wide `_CURRENT`,
# which names the head that was started last and may name another one by then.
HEAD = "KINESWEEP_RAY_ADDRESS"
_START_TIMEOUT_S = 120.0
_AGENT_TIMEOUT_S = 60.0
# Ray stores the address of the most recently started cluster here and does not remove it. With a
# stale address, Ray Train's placement-group cleaner waits for a dead state API and runs fail.
_CURRENT = Path("/tmp/ray/ray_current_cluster")
_ENV = {
    # Without this, Ray replaces 127.0.0.1 by the machine's external address and listens there.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # A TorchTrainer's controller polls its workers, and every report waits for it; default: 2 s.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Without these, Tune prints its own result tables and writes a copy of every log.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    **MESSAGES,
}


def set_ray_env() -> None:
    """Set the variables that Ray reads when it is first imported; keep the caller's values."""
    home = state_home()
    for name, value in {**_ENV, "RAY_AUTH_TOKEN_PATH": str(home / "services" / TOKEN)}.items():
        os.environ.setdefault(name, value)


def environment(home: Path) -> dict[str, str]:
    """Return variables that keep Ray's processes on loopback with the token of a state folder."""
    token = home / "services" / TOKEN
    if not token.exists():
        token.parent.mkdir(parents=True, exist_ok=True)
        # Restrict the permissions before the secret is written, not after.
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    mine = {**_ENV, "RAY_AUTH_TOKEN_PATH": str(token), "KINESWEEP_HOME": str(home)}
    server = running_server(home)
    if server is not None:
        mine["MLFLOW_TRACKING_URI"] = server.address
    return mine


def connect() -> None:
    """Connect to the cluster of this job, the head that `up` started, or a new Ray in this process.

    A `RAY_ADDRESS` in the environment has precedence over the local head.
    """
    import ray

    if ray.is_initialized():
        return
    home = state_home()
    if told := os.environ.get(HEAD):
        os.environ["RAY_ADDRESS"] = told
    inside = os.environ.get("RAY_ADDRESS")
    head = running_head(home)
    if not inside:
        # A foreign cluster has its own authentication; only a local Ray uses this folder's token.
        os.environ.update(environment(home))
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if inside:
        options["address"] = inside
    elif head is not None:
        options["address"] = os.environ["RAY_ADDRESS"] = head.address
    else:
        cores = len(os.sched_getaffinity(0))
        options |= {"address": "local", "num_cpus": cores, "include_dashboard": True}
    with native_log_off():
        ray.init(**options)


def cores() -> float:
    """Return the number of cores of the connected cluster, at least 1."""
    import ray

    return max(1.0, float(ray.cluster_resources().get("CPU", 1.0)))


def running_head(home: Path) -> Service | None:
    """Return the local Ray head of a state folder; None if it is not running."""
    last = recorded(home, NAME)
    return last if last is not None and last.alive else None


def dashboard_of(head: Service) -> str:
    """Return the address of a head's dashboard and job server."""
    return f"http://{_port_at(head, 1)}"


def metrics_of(head: Service) -> str:
    """Return the address of a head's metrics, for Prometheus."""
    return f"http://{_port_at(head, 4)}/metrics"


def _port_at(head: Service, further: int) -> str:
    """Return `host:port` for an offset 0 to 4 into the head's five consecutive ports."""
    host, port = head.address.split(":")
    return f"{host}:{int(port) + further}"


def up(cores: int | None, backend_store: str | None = None) -> tuple[Service, Service]:
    """Start MLflow and a Ray head at the same time, unless they are already running.

    Args:
        cores: Number of cores for a new head; None: all cores of this process.
        backend_store: URI of MLflow's database; None: the one used last.

    Returns:
        The MLflow server and the Ray head.

    Raises:
        TrackingError: If one of them does not start.
    """
    home = state_home()
    # Ray's environment names the server's address, which is known before the server answers.
    mlflow = launch_server(home, backend_store=backend_store)
    with starting(home, NAME):
        head = running_head(home)
        if head is None:
            with _startup_lock():
                head = _start_head(home, cores or len(os.sched_getaffinity(0)))
    wait_for_server(mlflow)
    return mlflow, head


def down() -> list[str]:
    """Stop the services that `up` started and return the names of those that were running."""
    home = state_home()
    stopped = []
    with starting(home, NAME):
        head = recorded(home, NAME)
        if head is not None and stop(head):
            stopped.append(NAME)
            # The file may name another head that was started later; leave that alone.
            if _CURRENT.is_file() and _CURRENT.read_text().strip() == head.address:
                _CURRENT.unlink()
    if stop_server(home):
        stopped.append("mlflow")
    return stopped


def submit(arguments: Sequence[str], address: str | None = None, sweep: Path | None = None) -> int:
    """Run `kinesweep ARGUMENTS` as a Ray job and follow its log.

    Args:
        arguments: Command and its arguments, with absolute paths.
        address: Address of a Ray job server; None: the local head.
        sweep: Sweep folder whose progress is shown on a terminal, if this machine can read it.

    Returns:
        The exit code of the job's process.

    Raises:
        ResourceError: If no job server is known or if it does not answer.
    """
    import asyncio

    from ray.job_submission import JobStatus, JobSubmissionClient

    job_client_log_off()
    home = state_home()
    head = running_head(home)
    if address is None and head is None:
        raise ResourceError("Ray is not running; start it with `kinesweep up` or pass `--address`")
    variables = environment(home)
    if address is None and head is not None:
        variables[HEAD] = head.address
    try:
        client = JobSubmissionClient(address or dashboard_of(head))  # type: ignore[arg-type]
    except (ConnectionError, RuntimeError) as error:
        raise ResourceError(f"the job server does not answer: {error}") from None
    # The token's path is valid on this machine only; the cluster's own processes know theirs.
    runtime_env = {"env_vars": {k: v for k, v in variables.items() if "TOKEN_PATH" not in k}}
    command = [sys.executable, "-m", "kinesweep", *arguments]
    began = time.time()
    job = _submit_with_retry(client, _quoted(command), runtime_env)
    try:
        with sweep_display(sweep, began) if sweep is not None else nullcontext():
            asyncio.run(_follow(client, job))
    except KeyboardInterrupt:
        client.stop_job(job)
        raise
    info = _ended(client, job)
    # A job that was killed has no exit code, and a failed job must not return 0.
    return 0 if info.status == JobStatus.SUCCEEDED else info.driver_exit_code or 1


async def _follow(client: Any, job: str) -> None:
    """Copy a job's log to stderr as it grows, without Ray's own lines; report a lost connection."""
    from aiohttp import ClientError

    try:
        async for line in job_lines(client.tail_job_logs(job), colors=console.is_terminal):
            sys.stderr.write(line)
    except (ClientError, RuntimeError) as error:  # Ray's client raises either
        sys.stderr.write(f"the log stream broke off ({error}); waiting for the job to end\n")


def _ended(client: Any, job: str) -> Any:
    """Wait for the end of a job and return its info; its log alone may have been cut off.

    Raises:
        ResourceError: If the job server does not answer for 60 s.
    """
    from requests.exceptions import RequestException

    give_up = time.monotonic() + _AGENT_TIMEOUT_S
    while True:
        try:
            info = client.get_job_info(job)
        except RequestException as error:
            if time.monotonic() > give_up:
                raise ResourceError(f"the job server no longer answers: {error}") from None
        else:
            if info.status.is_terminal():
                return info
            # The time limit is on the server's silence, not on the job, which may take days.
            give_up = time.monotonic() + _AGENT_TIMEOUT_S
        time.sleep(1)


def _submit_with_retry(client: Any, entrypoint: str, runtime_env: dict[str, Any]) -> str:
    """Submit a job and return its id; retry for up to 60 s.

    A head that has just started has no job agent yet, and a busy head may close a connection before
    it answers. The id is chosen here, so a retry finds a job that was accepted after all and does
    not submit it twice.
    """
    from requests.exceptions import RequestException

    job = f"raysubmit_{secrets.token_hex(8)}"
    asked = {"entrypoint": entrypoint, "runtime_env": runtime_env, "submission_id": job}
    give_up = time.monotonic() + _AGENT_TIMEOUT_S
    while True:
        try:
            return str(client.submit_job(**asked))
        except (RuntimeError, RequestException) as error:
            if f"{job} already exists" in str(error):
                return job
            lost = isinstance(error, RequestException) or "No available agent" in str(error)
            if not lost or time.monotonic() > give_up:
                raise ResourceError(f"the job server refused the job: {error}") from None
            time.sleep(1)


def _quoted(command: Sequence[str]) -> str:
    """Return a command as one shell line, which is the form that Ray's job server expects."""
    import shlex

    return shlex.join(command)


@contextmanager
def _startup_lock() -> Iterator[None]:
    """Hold a lock so that no other head of this user chooses the same ports at the same time."""
    # The lock lies outside the state folder: heads of different state folders compete for ports.
    with (Path(tempfile.gettempdir()) / f"kinesweep-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start_head(home: Path, cores: int) -> Service:
    """Start a Ray head and wait until its dashboard answers."""
    port = _free_ports()
    program = Path(sys.executable).with_name("ray")
    if not program.exists():
        raise KinesweepError(f"`{program}` does not exist; reinstall Kinesweep's dependencies")
    command = [str(program), "start", "--head", "--block", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={port + 1}", f"--num-cpus={cores}", "--include-dashboard=true"]
    command += [f"--ray-client-server-port={port + 2}", "--disable-usage-stats"]
    # With Ray's default port (52365) the agent that starts jobs fails if another Ray is running.
    command += [f"--dashboard-agent-listen-port={port + 3}"]
    command += [f"--metrics-export-port={port + 4}"]
    # The log monitor copies workers' logs to drivers; ours set `log_to_driver=False`.
    command += ["--include-log-monitor=false"]
    variables = environment(home)
    head = start(home, NAME, command, f"127.0.0.1:{port}", variables)
    token = Path(variables["RAY_AUTH_TOKEN_PATH"]).read_text()
    wait_until(head, lambda: _answers(f"{dashboard_of(head)}/api/version", token), _START_TIMEOUT_S)
    return head


def _answers(address: str, token: str) -> bool:
    """Return whether an address answers a request that carries the token."""
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=2) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def _free_ports() -> int:
    """Return a loopback port p such that p to p + 4 are free."""
    import socket

    for first in range(6379, 7379, 5):
        try:
            for port in range(first, first + 5):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise ResourceError(
        "Ray needs five consecutive free ports between 6379 and 7379, and there are none"
    )
