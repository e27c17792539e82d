"""Ray on this machine: connecting to it, starting a head on loopback, submitting jobs.

A local head and its dashboard listen on 127.0.0.1 alone and ask for a token that lies in the state
folder, so that nothing is written to the home folder and no other user can run code here.
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

from kinesweep.cli.display import sweep_display
from kinesweep.cli.output import console
from kinesweep.cli.ray_messages import MESSAGES, job_client_log_off, job_lines, native_log_off
from kinesweep.core.errors import KinesweepError, ResourceError
from kinesweep.core.paths import state_home
from kinesweep.tracking.server import launch_server, running_server, stop_server, wait_for_server
from kinesweep.tracking.services import Service, recorded, start, starting, stop, wait_until

NAME = "ray"
TOKEN = "ray_token"
HEAD = "KINESWEEP_RAY_ADDRESS"
"""Tells a job of a local head whose it is. Ray tells it by a file of the machine that names the
head started last, which may be another one by then."""
_START_TIMEOUT_S = 120.0
_AGENT_TIMEOUT_S = 60.0
_CURRENT = Path("/tmp/ray/ray_current_cluster")
"""Where Ray notes the cluster started last; an address left there makes later ones hang."""
_ENV = {
    # Without this Ray swaps 127.0.0.1 for the machine's outer address and listens there.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # The controller of a TorchTrainer polls its workers; at Ray's 2 s every report waits for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Without these Tune names its best-known fields in tables nobody reads and copies every log.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    **MESSAGES,
}


def prepare() -> None:
    """Sets what Ray reads when it is first imported; what the caller has set stays."""
    home = state_home()
    for name, value in {**_ENV, "RAY_AUTH_TOKEN_PATH": str(home / "services" / TOKEN)}.items():
        os.environ.setdefault(name, value)


def environment(home: Path) -> dict[str, str]:
    """Variables under which Ray's processes stay on loopback, with this state folder's token."""
    token = home / "services" / TOKEN
    if not token.exists():
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    mine = {**_ENV, "RAY_AUTH_TOKEN_PATH": str(token), "KINESWEEP_HOME": str(home)}
    server = running_server(home)
    if server is not None:
        mine["MLFLOW_TRACKING_URI"] = server.address
    return mine


def connect() -> None:
    """Joins the cluster of this job, the head that `up` started, or a Ray of this process alone."""
    import ray

    if ray.is_initialized():
        return
    home = state_home()
    if told := os.environ.get(HEAD):
        os.environ["RAY_ADDRESS"] = told
    inside = os.environ.get("RAY_ADDRESS")
    head = running_head(home)
    if not inside:
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
    """Cores of the cluster that this process has joined, at least 1."""
    import ray

    return max(1.0, float(ray.cluster_resources().get("CPU", 1.0)))


def running_head(home: Path) -> Service | None:
    """The local Ray head of a state folder, if it runs."""
    last = recorded(home, NAME)
    return last if last is not None and last.alive else None


def dashboard_of(head: Service) -> str:
    """Address of a head's job server: the port above its own."""
    return f"http://{_beside(head, 1)}"


def metrics_of(head: Service) -> str:
    """Address of a head's metrics, for Prometheus."""
    return f"http://{_beside(head, 4)}/metrics"


def _beside(head: Service, further: int) -> str:
    """A head has five ports in a row, its own the first."""
    host, port = head.address.split(":")
    return f"{host}:{int(port) + further}"


def up(cores: int | None, backend_store: str | None = None) -> tuple[Service, Service]:
    """Start MLflow and a Ray head at the same time, or find them running.

    Raises:
        TrackingError: one of them does not start.
    """
    home = state_home()
    # Ray's environment names the server's address, which is known before the server answers.
    mlflow = launch_server(home, backend_store=backend_store)
    with starting(home, NAME):
        head = running_head(home)
        if head is None:
            with _one_at_a_time():
                head = _start_head(home, cores or len(os.sched_getaffinity(0)))
    wait_for_server(mlflow)
    return mlflow, head


def down() -> list[str]:
    """Stops what `up` started. Returns the names of what ran."""
    home = state_home()
    stopped = []
    with starting(home, NAME):
        head = recorded(home, NAME)
        if head is not None and stop(head):
            stopped.append(NAME)
            if _CURRENT.is_file() and _CURRENT.read_text().strip() == head.address:
                _CURRENT.unlink()
    if stop_server(home):
        stopped.append("mlflow")
    return stopped


def submit(arguments: Sequence[str], address: str | None = None, sweep: Path | None = None) -> int:
    """Runs `kinesweep ARGUMENTS` as a Ray job and follows its log.

    Args:
        arguments: a verb and what follows it, paths absolute.
        address: of a job server; None: the local head.
        sweep: folder whose progress is shown on a terminal, if this machine sees it.

    Returns:
        The exit code of the job's own process.

    Raises:
        ResourceError: no job server is known, or it does not answer.
    """
    import asyncio

    from ray.job_submission import JobStatus, JobSubmissionClient

    job_client_log_off()
    home = state_home()
    head = running_head(home)
    if address is None and head is None:
        raise ResourceError("no Ray is running; start it with `kinesweep up`, or give `--address`")
    variables = environment(home)
    if address is None and head is not None:
        variables[HEAD] = head.address
    try:
        client = JobSubmissionClient(address or dashboard_of(head))  # type: ignore[arg-type]
    except (ConnectionError, RuntimeError) as error:
        raise ResourceError(f"the job server does not answer: {error}") from None
    runtime_env = {"env_vars": {k: v for k, v in variables.items() if "TOKEN_PATH" not in k}}
    command = [sys.executable, "-m", "kinesweep", *arguments]
    began = time.time()
    job = _submitted(client, _quoted(command), runtime_env)
    try:
        with sweep_display(sweep, began) if sweep is not None else nullcontext():
            asyncio.run(_follow(client, job))
    except KeyboardInterrupt:
        client.stop_job(job)
        raise
    info = _ended(client, job)
    return 0 if info.status == JobStatus.SUCCEEDED else info.driver_exit_code or 1


async def _follow(client: Any, job: str) -> None:
    """Copy a job's log to stderr as it grows, without what Ray adds to it; say if it breaks off."""
    from aiohttp import ClientError

    try:
        async for line in job_lines(client.tail_job_logs(job), colors=console.is_terminal):
            sys.stderr.write(line)
    except (ClientError, RuntimeError) as error:  # Ray's client raises either
        sys.stderr.write(f"the log of the job broke off ({error}); waiting for the job to end\n")


def _ended(client: Any, job: str) -> Any:
    """The job's end, which its log may not show when the connection was lost; waits for it.

    Raises:
        ResourceError: the job server is gone.
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
            give_up = time.monotonic() + _AGENT_TIMEOUT_S
        time.sleep(1)


def _submitted(client: Any, entrypoint: str, runtime_env: dict[str, Any]) -> str:
    """The job's id. A head that has just started has no agent for jobs yet, and says so.

    A busy head may close a connection before it answers. The id is chosen here, so that a job that
    was taken all the same is found and not submitted twice.
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
    import shlex

    return shlex.join(command)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keeps other heads of this user from choosing the same ports, which Ray would share."""
    with (Path(tempfile.gettempdir()) / f"kinesweep-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start_head(home: Path, cores: int) -> Service:
    port = _free_ports()
    program = Path(sys.executable).with_name("ray")
    if not program.exists():
        raise KinesweepError(f"`{program}` is missing; install Kinesweep's packages again")
    command = [str(program), "start", "--head", "--block", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={port + 1}", f"--num-cpus={cores}", "--include-dashboard=true"]
    command += [f"--ray-client-server-port={port + 2}", "--disable-usage-stats"]
    # Without a port of its own the agent that starts jobs fails where another Ray runs.
    command += [f"--dashboard-agent-listen-port={port + 3}"]
    command += [f"--metrics-export-port={port + 4}"]
    # It would copy the workers' logs to drivers, which none of ours asks for.
    command += ["--include-log-monitor=false"]
    variables = environment(home)
    head = start(home, NAME, command, f"127.0.0.1:{port}", variables)
    token = Path(variables["RAY_AUTH_TOKEN_PATH"]).read_text()
    wait_until(head, lambda: _answers(f"{dashboard_of(head)}/api/version", token), _START_TIMEOUT_S)
    return head


def _answers(address: str, token: str) -> bool:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=2) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def _free_ports() -> int:
    """A port p of loopback with p to p + 4 free."""
    import socket

    for first in range(6379, 7379, 5):
        try:
            for port in range(first, first + 5):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise ResourceError("no five free ports between 6379 and 7379 for Ray")
