"""Ray's workers in tests, forked from a process that has imported what is slow to import.

A worker that trains spends 11 s of CPU on imports, its controller and its slot 4 s each, and the
tests on Ray start hundreds of them. Here they start as forks of one server and need 1 s. Each runs
Ray's own start files, with its own environment, folder, output and paths. Ray itself is not
imported before: what it reads from its environment at import belongs to one worker.

Raylet starts a worker as `python setup_worker.py …` or `python default_worker.py …`.
`worker_start/sitecustomize.py` hands such a process over to the server and ends it; Ray knows
workers by the process id that they register. Without a server (`KINESWEEP_FORK_WORKERS=0`) workers
start as everywhere else.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil

import fresh_process

TESTS = Path(__file__).resolve().parent
START = TESTS / "worker_start"
VARIABLE = "KINESWEEP_WORKER_SERVER"
PRELOADED = [
    *fresh_process.PRELOADED,
    # What Ray imports.
    "aiohttp",
    "fsspec",
    "google.protobuf",
    "grpc",
    "jsonschema",
    "opentelemetry.sdk.metrics",
    "pandas",
    "prometheus_client",
    "pyarrow.dataset",
    "pyarrow.fs",
    "tensorboardX",
]


@contextlib.contextmanager
def forked_workers() -> Iterator[None]:
    """Have Ray's workers forked from a server of this process, which ends with it at the latest.

    One server for several test processes would do, but the kernel divides a core by sessions
    (autogroup): so the workers of each Ray weigh together what they weigh without a server.
    """
    if os.environ.get("KINESWEEP_FORK_WORKERS") == "0":
        yield
        return
    address = Path(tempfile.gettempdir(), f"kinesweep-workers-{os.getpid()}")
    address.unlink(missing_ok=True)  # of a server that was killed
    server = _start(address)
    os.environ[VARIABLE] = str(address)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        server.terminate()
        server.wait()


def _start(address: Path) -> "subprocess.Popen[bytes]":
    """The server, once it listens."""
    paths = os.pathsep.join([str(TESTS.parent / "platform"), str(TESTS)])
    server = subprocess.Popen(
        [sys.executable, "-m", "worker_server", str(address), str(os.getpid())],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not address.exists() and server.poll() is None:
        time.sleep(0.05)
    return server


def main(address: str, owner: int) -> None:
    """Import everything, then fork a worker for each connection until the owner is gone."""
    for name in PRELOADED:
        importlib.import_module(name)
    assert "ray" not in sys.modules
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # and no socket left
    with _listening(address) as server:
        while psutil.pid_exists(owner):
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            if not os.fork():
                server.close()
                _become_worker(connection)
            connection.close()


@contextlib.contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    """A socket that is there, under its name, once it listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen(256)
        server.settimeout(1)
        os.rename(f"{address}.new", address)
        try:
            yield server
        finally:
            os.unlink(address)


def _become_worker(connection: socket.socket) -> NoReturn:
    """Run Ray's start file as the process would that asked for it; never returns."""
    status = 1
    try:
        wanted = _receive(connection)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # who kills a worker with all it has started kills its group
        os.nice(wanted["niceness"] - os.nice(0))
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        time.tzset()
        connection.sendall(b"1")
        connection.close()
        os.execvp = _run_in_place  # type: ignore[assignment]
        _run(wanted["arguments"], wanted["paths"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _receive(connection: socket.socket) -> dict[str, Any]:
    """What the process sends, and its open files in place of the server's."""
    connection.settimeout(None)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
        os.close(file)
    received = bytearray()
    while part := connection.recv(1 << 16):
        received += part
    return dict(json.loads(received))


_paths: list[str] = []


def _run(arguments: list[str], paths: list[str]) -> None:
    _paths[:] = paths
    sys.argv = arguments
    sys.path[:] = [str(Path(arguments[0]).parent), *paths]
    runpy.run_path(arguments[0], run_name="__main__")


def _run_in_place(file: str, args: list[str]) -> None:
    """Stands in for `os.execvp` of `bash -c "exec python default_worker.py …"`."""
    words = shlex.split(args[-1])
    if args[:2] != ["bash", "-c"] or words[:2] != ["exec", sys.executable]:
        os.execv(f"/bin/{file}", args)
    _run(words[2:], _paths)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
