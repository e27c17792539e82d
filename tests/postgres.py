"""A PostgreSQL of a test's own, on loopback."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from needs import need


@contextmanager
def run_postgres() -> Iterator[str]:
    """A server with an empty database; its address."""
    initdb = need("initdb", "/usr/lib/postgresql/15/bin/initdb")
    program = need("postgres", "/usr/lib/postgresql/15/bin/postgres")
    folder = Path(tempfile.mkdtemp(prefix="kinesweep-pg-"))
    # It refuses to run as root.
    owner = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    if owner:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    made = [initdb, "-D", str(data), "-U", "me", "--auth=trust", "--no-sync"]
    subprocess.run(made, check=True, cwd=folder, stdout=subprocess.DEVNULL, **owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    running = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, **owner)
    try:
        address = f"postgresql://me@127.0.0.1:{port}/postgres"
        _wait_for(address)
        yield address
    finally:
        # It ends without waiting for the connections that a test left open.
        running.send_signal(signal.SIGINT)
        running.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str) -> None:
    """Until it takes connections, which is later than its port is open."""
    for _ in range(300):
        with suppress(psycopg.OperationalError):
            psycopg.connect(address).close()
            return
        time.sleep(0.1)
    raise AssertionError("PostgreSQL did not start")
