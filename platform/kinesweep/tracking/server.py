"""One MLflow server on SQLite in the state folder, on loopback.

The database's schema is made once, before the server's workers start: many processes at first
touch race on migrations. Clients speak HTTP to it and never open the file.
"""

import os
import sys
import urllib.request
from pathlib import Path
from urllib.error import URLError

from kinesweep.tracking.services import Service, find_service, free_port, start_service

NAME = "mlflow"
_START_WAIT_S = 120.0
"""A cold start imports MLflow in each worker: 10 s here, several times that on a busy machine."""


def start_server(home: Path, port: int | None = None) -> Service:
    """The running server of this state folder, started if need be.

    Raises:
        TrackingError: it does not start.
    """
    running = find_service(home, NAME)
    if running is not None:
        return running
    home.mkdir(parents=True, exist_ok=True)
    store = f"sqlite:///{home / 'mlflow.db'}"
    _make_schema(store)
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--artifacts-destination", str(home / "mlartifacts"), "--serve-artifacts"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return start_service(
        home, NAME, command, {}, address, lambda: answers(address), wait_s=_START_WAIT_S
    )


def answers(address: str) -> bool:
    """Whether an MLflow server answers there."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def _make_schema(store: str) -> None:
    """Creates or upgrades the database, in this process alone."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(store, "mlflow-artifacts:/").engine.dispose()
