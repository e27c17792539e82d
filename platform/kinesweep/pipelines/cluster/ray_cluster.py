"""Ray on this machine: connect to a cluster, start a head on loopback, submit jobs.

A local head and its dashboard listen on 127.0.0.1 only and require a token that is stored in the
state folder, so nothing is written to the home folder and no other user can run code here.
"""

import fcntl
import os
import secrets
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

from kinesweep.core.errors import KinesweepError, ResourceError
from kinesweep.core.paths import state_home
from kinesweep.pipelines.cluster.ray_messages import MESSAGES, native_log_off
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
