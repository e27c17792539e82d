"""Processes that are the ranks of one torch process group, without Ray."""

import json
import tempfile
from pathlib import Path
from typing import Any

from fresh_process import FreshProcess

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
            **{"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)},
            **{"MEETING": str(Path(folder) / "meeting")},
        }
        ranks = [
            FreshProcess(
                _BEGIN + script + _END,
                arguments,
                {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(world)
        ]
        try:
            ended = [rank.wait(_HANGS_S) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
    assert not any(one.returncode for one in ended), [one.stderr[-2000:] for one in ended]
    return [json.loads(one.stdout.splitlines()[-1]) for one in ended]
