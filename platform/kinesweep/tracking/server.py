"""One MLflow server for a state folder: SQLite or PostgreSQL behind it, loopback before it.

Everybody speaks HTTP to it: with 20 metrics a call, 8 processes that open the database themselves
wait for each other, and each first touch would race on the schema. One worker process serves 16
writers (SQLite has one writer anyway) and takes a quarter of the memory of MLflow's default of
four. MLflow asks nobody for a password: for other machines put a server of your own behind one, and
set `MLFLOW_TRACKING_URI`.
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
from kinesweep.tracking.services import Service, recorded, start, starting, stop, wait_until

NAME = "mlflow"
_HOST = "127.0.0.1"
_WORKERS = 1
_HEALTH_TIMEOUT_S = 2.0
_PORTS = range(20_000, 32_000)
"""Below the ports that the kernel gives to clients: Ray, started at the same time, takes those."""
_START_TIMEOUT_S = 180.0
"""The first start makes the database: 9 s on four idle cores, a minute on busy ones."""
_STORE_VARIABLE, _STORE_FILE = "MLFLOW_BACKEND_STORE_URI", "backend_store"
_QUIET = {
    # Jobs are for its assistants and judges: five more processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def start_server(
    home: Path,
    port: int | None = None,
    timeout_s: float = _START_TIMEOUT_S,
    backend_store: str | None = None,
) -> Service:
    """Start the server of a state folder if it does not run, and wait until it answers.

    Args:
        home: the state folder, absolute.
        backend_store: address of the database, such as `postgresql://user:password@host/name`, or
            `sqlite` for the one in the state folder. Default: that of the last start. It may hold
            a password: it lies in a file that only its owner reads, and on no command line.
        port: default: that of the last start if it is free (addresses stay valid), else a free one.
        timeout_s: how long it may take to answer.

    Raises:
        TrackingError: the port is taken, another port or database is served, a package for the
            database is missing, or it does not come up.
    """
    service = launch_server(home, port, backend_store)
    wait_for_server(service, timeout_s)
    return service


def launch_server(home: Path, port: int | None = None, backend_store: str | None = None) -> Service:
    """Start the server of a state folder if it does not run, without waiting for its answer.

    Other services can start meanwhile; `wait_for_server` belongs after it.

    Args:
        home: the state folder, absolute.
        port: as in `start_server`.
        backend_store: as in `start_server`.

    Raises:
        TrackingError: the port is taken, another port or database is served, or a package for the
            database is missing.
    """
    with starting(home, NAME):
        last = recorded(home, NAME)
        store = _choose_store(home, backend_store, running=last is not None and last.alive)
        _check_place(store)
        if last is not None and last.alive:
            if port is not None and last.address != _address(port):
                raise TrackingError(
                    f"an MLflow server of `{home}` runs at {last.address} already, not at port"
                    f" {port}; stop it first (`kinesweep down`)"
                )
            return last
        if last is not None:
            stop(last)  # children that outlived it would hold the port and the database
        address = _address(_choose_port(port, last))
        return start(
            home, NAME, _command(home, address), address, {**_QUIET, _STORE_VARIABLE: store}
        )


def wait_for_server(service: Service, timeout_s: float = _START_TIMEOUT_S) -> None:
    """Wait until a launched server answers.

    Raises:
        TrackingError: it ended, or does not answer within `timeout_s`; it is stopped then.
    """
    wait_until(service, lambda: answers(service.address), timeout_s)


def stop_server(home: Path) -> bool:
    """Stops the server of a state folder; whether there was one."""
    with starting(home, NAME):
        last = recorded(home, NAME)
        return last is not None and stop(last)


def running_server(home: Path) -> Service | None:
    """The server of a state folder, if its process runs."""
    last = recorded(home, NAME)
    return last if last is not None and last.alive else None


def answers(address: str) -> bool:
    """Whether an MLflow server is healthy."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=_HEALTH_TIMEOUT_S) as reply:
            return bool(reply.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _command(home: Path, address: str) -> list[str]:
    """The server makes and upgrades its tables itself before it starts to serve."""
    host, port = address.removeprefix("http://").split(":")
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--artifacts-destination", str(home / "mlflow-artifacts")),
        *("--host", host, "--port", port, "--workers", str(_WORKERS)),
        *("--uvicorn-opts", "--log-level warning"),
    ]


def _choose_store(home: Path, wanted: str | None, running: bool) -> str:
    """Address of the database, and notes it for the next start."""
    own = f"sqlite:///{home / 'mlflow.db'}"
    noted = home / "services" / _STORE_FILE
    last = noted.read_text(encoding="utf-8") if noted.exists() else own
    if wanted is None:
        return last
    store = own if wanted == "sqlite" else wanted
    if running and store != last:
        raise TrackingError(
            "an MLflow server runs on another database; stop it first (`kinesweep down`)"
        )
    if store.startswith("postgresql") and find_spec("psycopg") is None:
        raise TrackingError("PostgreSQL needs a package: pip install 'kinesweep[postgres]'")
    noted.unlink(missing_ok=True)
    noted.touch(mode=0o600)
    noted.write_text(store, encoding="utf-8")
    return store


def _check_place(store: str) -> None:
    """Refuses SQLite where its locks mean nothing.

    Raises:
        TrackingError: the file would lie on a network file system.
    """
    if not store.startswith("sqlite:///"):
        return
    path = Path(store.removeprefix("sqlite:///"))
    kind = network_filesystem(path)
    if kind:
        raise TrackingError(
            f"MLflow's database `{path}` would lie on a network file system ({kind}), where SQLite"
            " loses data. Give a file of this machine (`kinesweep up --backend-store"
            " sqlite:////var/tmp/mlflow.db`) or PostgreSQL (`--backend-store postgresql://…`)"
        )


def _address(port: int) -> str:
    return f"http://{_HOST}:{port}"


def _choose_port(port: int | None, last: Service | None) -> int:
    if port is not None:
        if not _is_free(port):
            raise TrackingError(
                f"port {port} of {_HOST} is taken by another program; give another one or none"
            )
        return port
    before = int(last.address.rsplit(":", 1)[1]) if last is not None else 0
    if before and _is_free(before):
        return before
    # Drawn at random, so that servers of two state folders that start at once do not meet. The
    # global generator is not used: a run's seed sets it.
    return next(p for p in random.SystemRandom().sample(_PORTS, len(_PORTS)) if _is_free(p))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server will: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True
