"""The command line as processes of their own, with a state folder and a Ray folder of their own."""

import os
import subprocess
import sys
from pathlib import Path


def environment(home: Path, ray_folder: Path | None = None, **variables: str) -> dict[str, str]:
    """Return the variables of a command: nothing of the caller's Ray or MLflow, one thread.

    Args:
        home: The state folder.
        ray_folder: Folder of Ray's sockets and sessions, with a short path. Without one the
            command uses Ray's own place, which clusters of one machine share.
        variables: Further variables.
    """
    others = ("RAY_", "REPORTER_", "MLFLOW_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    own = {"KINESWEEP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    # Several clusters run side by side on one machine; Ray would count all of its memory, and its
    # workers would give way to every other process.
    own |= {"RAY_memory_monitor_refresh_ms": "0", "RAY_worker_niceness": "0"}
    own |= {"RAY_USAGE_STATS_ENABLED": "0"}
    if ray_folder is not None:
        own["RAY_TMPDIR"] = str(ray_folder)
    return {**inherited, **own, **variables}


def command(*arguments: str) -> list[str]:
    """Return a command line of this interpreter."""
    return [sys.executable, "-m", "kinesweep", *arguments]


def kinesweep(
    home: Path, env: dict[str, str], *arguments: str, timeout_s: int = 800
) -> subprocess.CompletedProcess[str]:
    """Run a command in its state folder to its end."""
    return subprocess.run(
        command(*arguments), env=env, cwd=home, capture_output=True, text=True, timeout=timeout_s
    )
