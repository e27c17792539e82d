"""Ray on this machine: connect to a cluster, start and stop the services on loopback.

A local head and its dashboard listen on 127.0.0.1 only and require a token that is stored in the
state folder, so nothing is written to the home folder and no other user can run code here.
"""

import os
import secrets
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

from kinesweep.core.errors import KinesweepError
from kinesweep.core.io import hold_lock_file
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.cluster.cluster_address import check_cluster_address, find_first_free_port
from kinesweep.pipelines.cluster.ray_messages import RAY_MESSAGE_ENV
from kinesweep.pipelines.cluster.ray_start import initialize_ray
from kinesweep.tracking.background_process import (
    BackgroundService,
    hold_service_lock,
    read_service_record,
    start_service,
    stop_service,
    wait_until_ready,
)
from kinesweep.tracking.server import (
    find_running_mlflow_server,
    launch_mlflow_server,
    stop_mlflow_server,
    wait_for_mlflow_server,
)

RAY_SERVICE = "ray"
TOKEN_FILE_NAME = "ray_token"
# Tells a job which local head it belongs to. Ray itself would read the machine-wide
# `_CURRENT_CLUSTER_PATH`, which names the head that was started last and may name another one by
# then.
HEAD_ADDRESS_VARIABLE = "KINESWEEP_RAY_ADDRESS"
_START_TIMEOUT_S = 120.0
# Ray stores the address of the most recently started cluster here and does not remove it. With a
# stale address, Ray Train's placement-group cleaner waits for a dead state API and runs fail.
_CURRENT_CLUSTER_PATH = Path("/tmp/ray/ray_current_cluster")
_RAY_ENV = {
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
    **RAY_MESSAGE_ENV,
}


def set_ray_env() -> None:
    """Set the environment variables that Ray reads when it is first imported.

    Variables that are set already are left unchanged.
    """
    state_dir = get_state_dir()
    for name, value in {
        **_RAY_ENV,
        "RAY_AUTH_TOKEN_PATH": str(state_dir / "services" / TOKEN_FILE_NAME),
    }.items():
        os.environ.setdefault(name, value)


def build_ray_env(state_dir: Path) -> dict[str, str]:
    """Build the environment variables of Ray's processes.

    They restrict Ray to the loopback address, require the token, silence its logs, and name the
    state folder and the running MLflow server. The file with the token is created if it is missing.
    """
    variables = {
        **_RAY_ENV,
        "RAY_AUTH_TOKEN_PATH": str(_ensure_token_file(state_dir)),
        "KINESWEEP_HOME": str(state_dir),
    }
    server = find_running_mlflow_server(state_dir)
    if server is not None:
        variables["MLFLOW_TRACKING_URI"] = server.address
    return variables


def _ensure_token_file(state_dir: Path) -> Path:
    """Return the path of the file with the token, after creating the file if it does not exist."""
    token_path = state_dir / "services" / TOKEN_FILE_NAME
    if not token_path.exists():
        token_path.parent.mkdir(parents=True, exist_ok=True)
        # Restrict the permissions before the secret is written, not after.
        token_path.touch(mode=0o600)
        token_path.write_text(secrets.token_hex(32))
    return token_path


def connect_to_ray(check_machine: Callable[[], object] | None = None) -> None:
    """Connect this process to a Ray cluster; do nothing if it is connected already.

    The cluster is that of this job, otherwise the one at `RAY_ADDRESS`, otherwise the running local
    head, otherwise a new one that ends with this process, whose environment is set accordingly.

    Args:
        check_machine: Function that is called before a new Ray starts, which has only the devices
            of this machine.

    Raises:
        ConnectionError, ResourceError: If there is no cluster at the address, or none starts here.
    """
    import ray

    if ray.is_initialized():
        return
    state_dir = get_state_dir()
    if head_address := os.environ.get(HEAD_ADDRESS_VARIABLE):
        os.environ["RAY_ADDRESS"] = head_address
    ray_address = os.environ.get("RAY_ADDRESS")
    if not ray_address:
        # A foreign cluster has its own authentication; only a local Ray uses this folder's token.
        os.environ.update(build_ray_env(state_dir))
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if ray_address:
        check_cluster_address(ray_address)
        options["address"] = ray_address
    elif (head := find_running_head(state_dir)) is not None:
        options["address"] = os.environ["RAY_ADDRESS"] = head.address
    else:
        if check_machine is not None:
            check_machine()
        num_cores = len(os.sched_getaffinity(0))
        options |= {"address": "local", "num_cpus": num_cores, "include_dashboard": True}
    initialize_ray(options)


def get_num_cluster_cores() -> float:
    """Return the number of CPU cores of the connected Ray cluster, at least 1."""
    import ray

    return max(1.0, float(ray.cluster_resources().get("CPU", 1.0)))


def find_running_head(state_dir: Path) -> BackgroundService | None:
    """Find the local Ray head of a state folder; return None if no head is running there."""
    service = read_service_record(state_dir, RAY_SERVICE)
    return service if service is not None and service.is_alive else None


def get_dashboard_address(head: BackgroundService) -> str:
    """Return the HTTP address of a head's dashboard, which is also its job server."""
    return f"http://{_format_port_address(head, 1)}"


def get_metrics_address(head: BackgroundService) -> str:
    """Return the HTTP address at which Prometheus reads a head's metrics."""
    return f"http://{_format_port_address(head, 4)}/metrics"


def _format_port_address(head: BackgroundService, offset: int) -> str:
    """Format `host:port` of one of the five consecutive ports that a head uses.

    Args:
        head: Running head.
        offset: Offset 0 to 4 from the head's first port.
    """
    host, port = head.address.split(":")
    return f"{host}:{int(port) + offset}"


def start_services(
    num_cores: int | None, backend_store: str | None = None
) -> tuple[BackgroundService, BackgroundService]:
    """Start an MLflow server and a Ray head on this machine, and wait until both answer.

    Services that are already running are kept.

    Args:
        num_cores: Number of cores for a new head; None: all cores of this process.
        backend_store: URI of MLflow's database; None: the one used last.

    Returns:
        The MLflow server and the Ray head.

    Raises:
        KinesweepError: If the program `ray` is not installed beside this interpreter.
        ResourceError: If there are no free ports for the head.
        TrackingError: If one of them does not start, or if the running MLflow server uses another
            database.
    """
    state_dir = get_state_dir()
    # Ray's environment names the server's address, which is known before the server answers.
    mlflow = launch_mlflow_server(state_dir, backend_store=backend_store)
    with hold_service_lock(state_dir, RAY_SERVICE):
        head = find_running_head(state_dir)
        if head is None:
            with _hold_startup_lock():
                head = _start_head(state_dir, num_cores or len(os.sched_getaffinity(0)))
    wait_for_mlflow_server(mlflow)
    return mlflow, head


def stop_services() -> list[str]:
    """Stop the services of `kinesweep up` and return the names of those that were running.

    Ray's file with the address of the machine's current cluster is removed if it names the head.
    """
    state_dir = get_state_dir()
    stopped_services = []
    with hold_service_lock(state_dir, RAY_SERVICE):
        head = read_service_record(state_dir, RAY_SERVICE)
        if head is not None and stop_service(head):
            stopped_services.append(RAY_SERVICE)
            # The file may name another head that was started later; leave that alone.
            if (
                _CURRENT_CLUSTER_PATH.is_file()
                and _CURRENT_CLUSTER_PATH.read_text().strip() == head.address
            ):
                _CURRENT_CLUSTER_PATH.unlink()
    if stop_mlflow_server(state_dir):
        stopped_services.append("mlflow")
    return stopped_services


@contextmanager
def _hold_startup_lock() -> Iterator[None]:
    """Hold the lock under which heads of this user choose their ports, one after the other."""
    # The lock lies outside the state folder: heads of different state folders compete for ports.
    with hold_lock_file(Path(tempfile.gettempdir()) / f"kinesweep-{os.getuid()}.lock"):
        yield


def _start_head(state_dir: Path, num_cores: int) -> BackgroundService:
    """Start a Ray head on five free loopback ports and wait until its dashboard answers.

    Raises:
        KinesweepError: If the program `ray` is not installed beside this interpreter.
        ResourceError: If there are no five consecutive free ports.
        TrackingError: If the head exits or does not answer within 120 s.
    """
    port = find_first_free_port()
    ray_program = Path(sys.executable).with_name("ray")
    if not ray_program.exists():
        raise KinesweepError(f"`{ray_program}` does not exist; reinstall Kinesweep's dependencies")
    command = [str(ray_program), "start", "--head", "--block", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [
        f"--dashboard-port={port + 1}",
        f"--num-cpus={num_cores}",
        "--include-dashboard=true",
    ]
    command += [f"--ray-client-server-port={port + 2}", "--disable-usage-stats"]
    # With Ray's default port (52365) the agent that starts jobs fails if another Ray is running.
    command += [f"--dashboard-agent-listen-port={port + 3}"]
    command += [f"--metrics-export-port={port + 4}"]
    # The log monitor copies workers' logs to drivers; ours set `log_to_driver=False`.
    command += ["--include-log-monitor=false"]
    variables = build_ray_env(state_dir)
    head = start_service(state_dir, RAY_SERVICE, command, f"127.0.0.1:{port}", variables)
    token = Path(variables["RAY_AUTH_TOKEN_PATH"]).read_text()
    wait_until_ready(
        head,
        lambda: _is_responding(f"{get_dashboard_address(head)}/api/version", token),
        _START_TIMEOUT_S,
    )
    return head


def _is_responding(address: str, token: str) -> bool:
    """Return whether an address answers a request with the token with status 200 within 2 s."""
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
