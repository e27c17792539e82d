"""The MLflow server of a state folder: one of it, found again, and honest when it fails."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

import kinesweep
from kinesweep.core.errors import TrackingError
from kinesweep.tracking import server

START = (
    "import sys; from pathlib import Path; from kinesweep.tracking.server import"
    " start_mlflow_server;"
    " print(start_mlflow_server(Path(sys.argv[1])).address)"
)


def start_apart(home):
    env = {**os.environ, "PYTHONPATH": str(Path(kinesweep.__file__).parents[1])}
    command = [sys.executable, "-c", START, str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


@pytest.mark.slow
def test_one_server_whoever_starts_it(tmp_path):
    try:
        starters = [start_apart(tmp_path) for _ in range(2)]
        first, second = (starter.communicate(timeout=180)[0].strip() for starter in starters)
        assert first == second == server.start_mlflow_server(tmp_path).address
        service = server.find_running_mlflow_server(tmp_path)
        assert service is not None and server.is_mlflow_server_healthy(first)
        listening = [c.laddr.ip for p in _group(service) for c in _listening(p)]
        assert set(listening) == {"127.0.0.1"}
        with pytest.raises(TrackingError, match="kinesweep down"):
            server.start_mlflow_server(tmp_path, port=1)

        os.kill(service.pid, signal.SIGKILL)  # its worker lives on and holds the port
        _until_dead(service)
        again = server.start_mlflow_server(tmp_path)
        assert again.address == first and again.pid != service.pid
        assert not _group(service)
        assert server.stop_mlflow_server(tmp_path) and not server.stop_mlflow_server(tmp_path)
        assert server.find_running_mlflow_server(
            tmp_path
        ) is None and not server.is_mlflow_server_healthy(first)
    finally:
        server.stop_mlflow_server(tmp_path)


@pytest.mark.slow
def test_the_database_is_remembered_and_hidden(tmp_path, monkeypatch):
    """The next start takes the same one; a password is neither shown nor readable by others."""
    other = f"sqlite:///{tmp_path / 'other-secret.db'}"
    try:
        service = server.start_mlflow_server(tmp_path, backend_store=other)
        with pytest.raises(TrackingError, match="another database"):
            server.start_mlflow_server(tmp_path, backend_store="sqlite")
        commands = [" ".join(p.cmdline()) for p in _group(service)]
        assert commands and not any("other-secret" in command for command in commands)
        assert (tmp_path / "services/backend_store").stat().st_mode & 0o077 == 0
        server.stop_mlflow_server(tmp_path)
        server.start_mlflow_server(tmp_path)
        assert (tmp_path / "other-secret.db").exists() and not (tmp_path / "mlflow.db").exists()
    finally:
        server.stop_mlflow_server(tmp_path)
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(TrackingError, match=r"kinesweep\[postgres\]"):
        server.start_mlflow_server(tmp_path, backend_store="postgresql://me:secret@nowhere/x")


def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is not a database" * 100)
    with pytest.raises(TrackingError, match=r"(?s)mlflow server exited.*file is not a database"):
        server.start_mlflow_server(tmp_path)
    assert server.find_running_mlflow_server(tmp_path) is None


@pytest.mark.slow
def test_what_is_stored_stays_in_the_state_folder(tmp_path):
    try:
        address = server.start_mlflow_server(tmp_path).address
        body = json.dumps({"name": "q"}).encode()
        url = f"{address}/api/2.0/mlflow/experiments/create"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        assert urllib.request.urlopen(request).status == 200
    finally:
        server.stop_mlflow_server(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"mlflow.db", "logs", "services"}
    assert "mlflow.db" not in os.listdir()


def _group(service):
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if os.getpgid(process.pid) == service.pid and alive:
                found.append(process)
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def _listening(process):
    return [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]


def _until_dead(service):
    psutil.wait_procs([p for p in _group(service) if p.pid == service.pid], timeout=10)
    assert not service.is_alive
