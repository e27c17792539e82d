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
from kinesweep.core.paths import network_filesystem
from kinesweep.tracking.background_process import (
    Service,
    recorded,
    start,
    starting,
    stop,
    wait_until,
)

NAME = "mlflow"
_HOST = "127.0.0.1"
_WORKERS = 1
_HEALTH_TIMEOUT_S = 2.0
_PORTS = range(20_000, 32_000)
"""Below the kernel's ephemeral range, from which Ray, started at the same time, takes its ports."""
_START_TIMEOUT_S = 180.0
"""The first start creates the database: 9 s on four idle cores, a minute on busy ones."""
_STORE_VARIABLE, _STORE_FILE = "MLFLOW_BACKEND_STORE_URI", "backend_store"
_QUIET = {
    # Jobs serve MLflow's assistants and judges, and would take five more processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def start_server(
    home: Path,
    port: int | None = None,
    timeout_s: float = _START_TIMEOUT_S,
    backend_store: str | None = None,
) -> Service:
    """Start the server of a state folder unless it is running, and wait until it answers.

    Args:
        home: State folder, absolute.
        port: Port of the server. Default: that of the last start if it is free, so that addresses
            stay valid; otherwise any free port.
        timeout_s: Longest wait for an answer in seconds.
        backend_store: Address of the database, such as `postgresql://user:password@host/name`, or
            `sqlite` for the database in the state folder. Default: that of the last start. The
            address may contain a password: it is stored in a file that only its owner can read, and
            appears on no command line.

    Raises:
        TrackingError: If the port is taken, a server with another port or database is running, a
            package for the database is missing, or the server does not start.
    """
    service = launch_server(home, port, backend_store)
    wait_for_server(service, timeout_s)
    return service


def launch_server(home: Path, port: int | None = None, backend_store: str | None = None) -> Service:
    """Start the server of a state folder unless it is running, without waiting until it answers.

    Other services can start in the meantime; call `wait_for_server` afterwards.

    Args:
        home: the state folder, absolute.
        port: See `start_server`.
        backend_store: See `start_server`.

    Raises:
        TrackingError: If the port is taken, the running server uses another port or database, or
            a package for the database is missing.
    """
    with starting(home, NAME):
        last = recorded(home, NAME)
        # Raises if a running server uses another database than requested.
        store = _choose_store(home, backend_store, running=last is not None and last.alive)
        _check_place(store)
        if last is not None and last.alive:
            if port is not None and last.address != _address(port):
                raise TrackingError(
                    f"an MLflow server of `{home}` is already running at {last.address}, not at"
                    f" port {port}; stop it first (`kinesweep down`)"
                )
            return last
        if last is not None:
            # Children that outlived the server would still hold the port and the database.
            stop(last)
        address = _address(_choose_port(port, last))
        # The database address is passed in the environment, not on the command line, which every
        # user of the machine can read.
        return start(
            home, NAME, _command(home, address), address, {**_QUIET, _STORE_VARIABLE: store}
        )


def wait_for_server(service: Service, timeout_s: float = _START_TIMEOUT_S) -> None:
    """Wait until a launched server answers.

    Raises:
        TrackingError: If it ends or does not answer within `timeout_s`; it is then stopped.
    """
    wait_until(service, lambda: answers(service.address), timeout_s)


def stop_server(home: Path) -> bool:
    """Stop the server of a state folder; return whether there was one."""
    with starting(home, NAME):
        last = recorded(home, NAME)
        return last is not None and stop(last)


def running_server(home: Path) -> Service | None:
    """Return the server of a state folder, or None if its process is not running."""
    last = recorded(home, NAME)
    return last if last is not None and last.alive else None


def answers(address: str) -> bool:
    """Return whether an MLflow server at this address is healthy."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=_HEALTH_TIMEOUT_S) as reply:
            return bool(reply.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _command(home: Path, address: str) -> list[str]:
    """Return the command line; the server creates and upgrades its tables before it serves."""
    host, port = address.removeprefix("http://").split(":")
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        # Clients upload artifacts through the server, so they need no access to this folder.
        *("--artifacts-destination", str(home / "mlflow-artifacts")),
        *("--host", host, "--port", port, "--workers", str(_WORKERS)),
        *("--uvicorn-opts", "--log-level warning"),
    ]


def _choose_store(home: Path, wanted: str | None, running: bool) -> str:
    """Return the address of the database and record it for the next start.

    Args:
        home: State folder.
        wanted: Requested address, `sqlite`, or None for that of the last start.
        running: Whether a server is running.

    Raises:
        TrackingError: If the running server uses another database, or a package is missing.
    """
    own = f"sqlite:///{home / 'mlflow.db'}"
    noted = home / "services" / _STORE_FILE
    last = noted.read_text(encoding="utf-8") if noted.exists() else own
    if wanted is None:
        return last
    store = own if wanted == "sqlite" else wanted
    if running and store != last:
        raise TrackingError(
            "the running MLflow server uses another database; stop it first (`kinesweep down`)"
        )
    if store.startswith("postgresql") and find_spec("psycopg") is None:
        raise TrackingError(
            "PostgreSQL needs the package `psycopg`: pip install 'kinesweep[postgres]'"
        )
    # A new file gets mode 0600 before the address is written; an old one could be readable by
    # others.
    noted.unlink(missing_ok=True)
    noted.touch(mode=0o600)
    noted.write_text(store, encoding="utf-8")
    return store


def _check_place(store: str) -> None:
    """Raise an error for a SQLite file on a file system without reliable locks.

    Raises:
        TrackingError: If the file would be on a network file system.
    """
    if not store.startswith("sqlite:///"):
        return
    path = Path(store.removeprefix("sqlite:///"))
    kind = network_filesystem(path)
    if kind:
        raise TrackingError(
            f"MLflow's database `{path}` would be on a network file system ({kind}), where SQLite"
            " loses data. Use a file on a local disk (`kinesweep up --backend-store"
            " sqlite:////var/tmp/mlflow.db`) or PostgreSQL (`--backend-store postgresql://…`)"
        )


def _address(port: int) -> str:
    """Return the server's address for a port."""
    return f"http://{_HOST}:{port}"


def _choose_port(port: int | None, last: Service | None) -> int:
    """Return the requested port, that of the last start, or a free one.

    Raises:
        TrackingError: If the requested port is taken.
    """
    if port is not None:
        if not _is_free(port):
            raise TrackingError(
                f"port {port} of {_HOST} is taken by another program; choose another port or none"
            )
        return port
    before = int(last.address.rsplit(":", 1)[1]) if last is not None else 0
    if before and _is_free(before):
        return before
    # The port is random, so that servers of two state folders that start at the same time get
    # different ones. `SystemRandom`, because a run's seed sets the global generator.
    return next(p for p in random.SystemRandom().sample(_PORTS, len(_PORTS)) if _is_free(p))


def _is_free(port: int) -> bool:
    """Return whether a server could listen on a port."""
    with socket.socket() as probe:
        # Same option as the server: a port in TIME_WAIT then counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True
