"""Processes that are the ranks of one torch process group, without Ray."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def run_ranks(script: str, arguments: list[str], world: int) -> list[dict[str, Any]]:
    """Runs a script in `world` processes; what each prints last, read as JSON.

    The environment is that of a launcher, so accelerate and torch find each other.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        **{"PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1"},
        **{"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        said = [process.communicate(timeout=240) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert not any(process.returncode for process in ranks), [error[-2000:] for _, error in said]
    return [json.loads(out.splitlines()[-1]) for out, _ in said]
