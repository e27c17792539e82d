"""Processes that are the ranks of one torch process group, without Ray."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_BEGIN = """
import json, os, sys
from pathlib import Path
import torch.distributed as dist
rank, world = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
dist.init_process_group("gloo", "file://" + os.environ["MEETING"], rank=rank, world_size=world)
"""
# Gloo's threads outlive the group. One that still lets go of a tensor when the interpreter ends
# would abort the process (seen once in some hundred runs on a crowded machine), so it does not end.
_END = """
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)
"""

_HANGS_S = 900
"""After which ranks wait for each other in vain: side by side with other tests 50 s became 240."""


def run_ranks(script: str, arguments: list[str], world: int) -> list[dict[str, Any]]:
    """Runs a script in `world` processes; what each prints last, read as JSON.

    The environment is that of a launcher, so accelerate finds the group. The ranks meet at a file:
    of a free port, another test could make use first. `json`, `sys`, `Path` and `dist` are there.
    """
    with tempfile.TemporaryDirectory() as folder:
        shared = {
            **os.environ,
            **{"PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1"},
            **{"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)},
            **{"MEETING": str(Path(folder) / "meeting")},
        }
        ranks = [
            subprocess.Popen(
                [sys.executable, "-c", _BEGIN + script + _END, *arguments],
                env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        try:
            said = [process.communicate(timeout=_HANGS_S) for process in ranks]
        finally:
            for process in ranks:
                process.kill()
    assert not any(process.returncode for process in ranks), [error[-2000:] for _, error in said]
    return [json.loads(out.splitlines()[-1]) for out, _ in said]
