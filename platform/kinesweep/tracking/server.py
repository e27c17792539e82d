"""An MLflow server for a state folder, backed by SQLite or PostgreSQL and bound to loopback.

All processes use it over HTTP: at 20 metrics per call, 8 processes that open the database
themselves would wait for each other, and their first accesses would race to create the schema. One
worker process serves 16 writers (SQLite allows a single writer anyway) and takes a quarter of the
memory of MLflow's default of four. MLflow does not authenticate clients: for access from other
machines, run your own server behind authentication and set `MLFLOW_TRACKING_URI`.
"""

import random
import socket
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from kinesweep.core.errors import TrackingError
from kinesweep.core.paths import get_network_filesystem
from kinesweep.tracking.background_process import (
    BackgroundService,
    hold_service_lock,
    read_service_record,
    start_service,
    stop_service,
    wait_until_ready,
)

SERVICE_NAME = "mlflow"
_HOST = "127.0.0.1"
_NUM_WORKERS = 1
_HEALTH_TIMEOUT_S = 2.0
_PORTS = range(20_000, 32_000)
"""Below the kernel's ephemeral range, from which Ray, started at the same time, takes its ports."""
_START_TIMEOUT_S = 180.0
"""The first start creates the database: 9 s on four idle cores, a minute on busy ones."""
_STORE_VARIABLE, _STORE_FILE = "MLFLOW_BACKEND_STORE_URI", "backend_store"
_SERVER_ENV = {
    # Jobs serve MLflow's assistants and judges, and would take five more processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def start_mlflow_server(
    state_dir: Path,
    port: int | None = None,
    timeout_s: float = _START_TIMEOUT_S,
    backend_store: str | None = None,
) -> BackgroundService:
    """Start the server of a state folder unless it is running, and wait until it answers.

    Args:
        state_dir: State folder, absolute.
        port: Port of the server. Default: that of the last start if it is free, so that addresses
            stay valid; otherwise any free port.
        timeout_s: Longest wait for an answer in seconds.
        backend_store: Address of the database, such as `postgresql://user:password@host/name`, or
            `sqlite` for the database in the state folder. Default: that of the last start. The
            address may contain a password: it is stored in a file that only its owner can read, and
            appears on no command line.

    Returns:
        The running server.

    Raises:
        TrackingError: If the port is taken, a server with another port or database is running, a
            package for the database is missing, its file would be on a network file system, or the
            server does not start.
    """
    service = launch_mlflow_server(state_dir, port, backend_store)
    wait_for_mlflow_server(service, timeout_s)
    return service


def launch_mlflow_server(
    state_dir: Path, port: int | None = None, backend_store: str | None = None
) -> BackgroundService:
    """Start the server of a state folder unless it is running, without waiting until it answers.

    Other services can start in the meantime; call `wait_for_mlflow_server` afterwards.

    Args:
        state_dir: State folder, absolute.
        port: See `start_mlflow_server`.
        backend_store: See `start_mlflow_server`.

    Returns:
        The server, which may not answer yet.

    Raises:
        TrackingError: If the port is taken, the running server uses another port or database, a
            package for the database is missing, or its file would be on a network file system.
    """
    with hold_service_lock(state_dir, SERVICE_NAME):
        previous = read_service_record(state_dir, SERVICE_NAME)
        # Raises if a running server uses another database than requested.
        store = _resolve_backend_store(
            state_dir, backend_store, running=previous is not None and previous.is_alive
        )
        if previous is not None and previous.is_alive:
            if port is not None and previous.address != _format_address(port):
                raise TrackingError(
                    f"an MLflow server of `{state_dir}` is already running at {previous.address},"
                    " not at"
                    f" port {port}; stop it first (`kinesweep down`)"
                )
            return previous
        if previous is not None:
            # Children that outlived the server would still hold the port and the database.
            stop_service(previous)
        address = _format_address(_choose_port(port, previous))
        # The database address is passed in the environment, not on the command line, which every
        # user of the machine can read.
        return start_service(
            state_dir,
            SERVICE_NAME,
            _build_command(state_dir, address),
            address,
            {**_SERVER_ENV, _STORE_VARIABLE: store},
        )


def wait_for_mlflow_server(service: BackgroundService, timeout_s: float = _START_TIMEOUT_S) -> None:
    """Wait until a launched server answers; stop it if it does not.

    Args:
        service: Server from `launch_mlflow_server`.
        timeout_s: Longest wait in seconds.

    Raises:
        TrackingError: If the server exits or does not answer in time.
    """
    wait_until_ready(service, lambda: is_mlflow_server_healthy(service.address), timeout_s)


def stop_mlflow_server(state_dir: Path) -> bool:
    """Stop the server of a state folder; return whether any of its processes was running."""
    with hold_service_lock(state_dir, SERVICE_NAME):
        previous = read_service_record(state_dir, SERVICE_NAME)
        return previous is not None and stop_service(previous)


def find_running_mlflow_server(state_dir: Path) -> BackgroundService | None:
    """Return the running server of a state folder, healthy or not.

    Returns:
        The server; None if its process is not running or there is no readable record of it.
    """
    previous = read_service_record(state_dir, SERVICE_NAME)
    return previous if previous is not None and previous.is_alive else None


def is_mlflow_server_healthy(address: str) -> bool:
    """Return whether an MLflow server at this address reports within 2 s that it is healthy."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=_HEALTH_TIMEOUT_S) as response:
            return bool(response.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _build_command(state_dir: Path, address: str) -> list[str]:
    """Return the command line of a server.

    The server itself creates and upgrades the tables of its database before it serves.

    Args:
        state_dir: State folder.
        address: Address of the server, `http://host:port`.
    """
    host, port = address.removeprefix("http://").split(":")
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        # Clients upload artifacts through the server, so they need no access to this folder.
        *("--artifacts-destination", str(state_dir / "mlflow-artifacts")),
        *("--host", host, "--port", port, "--workers", str(_NUM_WORKERS)),
        *("--uvicorn-opts", "--log-level warning"),
    ]


def _resolve_backend_store(state_dir: Path, requested: str | None, running: bool) -> str:
    """Return the address of the database; record it for the next start if it was requested.

    Args:
        state_dir: State folder.
        requested: Requested address, `sqlite`, or None for that of the last start.
        running: Whether a server is running.

    Raises:
        TrackingError: If the running server uses another database, a package is missing, or the
            file of the database would be on a network file system.
    """
    default_store = f"sqlite:///{state_dir / 'mlflow.db'}"
    store_path = state_dir / "services" / _STORE_FILE
    previous_store = (
        store_path.read_text(encoding="utf-8") if store_path.exists() else default_store
    )
    if requested is None:
        _check_store_filesystem(previous_store)
        return previous_store
    store = default_store if requested == "sqlite" else requested
    if running and store != previous_store:
        raise TrackingError(
            "the running MLflow server uses another database; stop it first (`kinesweep down`)"
        )
    if store.startswith("postgresql") and find_spec("psycopg") is None:
        raise TrackingError(
            "PostgreSQL needs the package `psycopg`: pip install 'kinesweep[postgres]'"
        )
    # Before the address is recorded: a refused one must not become the default of the next start.
    _check_store_filesystem(store)
    # A new file gets mode 0600 before the address is written; an old one could be readable by
    # others.
    store_path.unlink(missing_ok=True)
    store_path.touch(mode=0o600)
    store_path.write_text(store, encoding="utf-8")
    return store


def _check_store_filesystem(store: str) -> None:
    """Check that a SQLite file is on a file system with reliable locks.

    Args:
        store: Address of the database; other databases than SQLite are not checked.

    Raises:
        TrackingError: If the file would be on a network file system.
    """
    if not store.startswith("sqlite:///"):
        return
    path = Path(store.removeprefix("sqlite:///"))
    filesystem = get_network_filesystem(path)
    if filesystem:
        raise TrackingError(
            f"MLflow's database `{path}` would be on a network file system ({filesystem}), where"
            " SQLite"
            " loses data. Use a file on a local disk (`kinesweep up --backend-store"
            " sqlite:////var/tmp/mlflow.db`) or PostgreSQL (`--backend-store postgresql://…`)"
        )


def _format_address(port: int) -> str:
    """Return the address of a server on this machine that listens on a port."""
    return f"http://{_HOST}:{port}"


def _choose_port(port: int | None, previous: BackgroundService | None) -> int:
    """Return the requested port; without a request that of the last start or a random free one.

    Args:
        port: Requested port, or None.
        previous: Server of the last start, which is no longer running; None if there was none.

    Raises:
        TrackingError: If the requested port is taken, or if no port is free.
    """
    if port is not None:
        if not _is_port_free(port):
            raise TrackingError(
                f"port {port} of {_HOST} is taken by another program; choose another port or none"
            )
        return port
    previous_port = int(previous.address.rsplit(":", 1)[1]) if previous is not None else 0
    if previous_port and _is_port_free(previous_port):
        return previous_port
    # The port is random, so that servers of two state folders that start at the same time get
    # different ones. `SystemRandom`, because a run's seed sets the global generator.
    shuffled_ports = random.SystemRandom().sample(_PORTS, len(_PORTS))
    free_port = next((port for port in shuffled_ports if _is_port_free(port)), None)
    if free_port is None:
        raise TrackingError(
            f"no port from {_PORTS.start} to {_PORTS.stop - 1} of {_HOST} is free for an MLflow"
            " server; end other programs that hold them"
        )
    return free_port


def _is_port_free(port: int) -> bool:
    """Return whether a server of this machine could listen on a port now."""
    with socket.socket() as probe:
        # Same option as the server: a port in TIME_WAIT then counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True
