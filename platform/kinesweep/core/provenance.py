"""What a result was made with: version, commit, packages, machine. Never the environment.

Environment variables and command lines may hold secrets, so nothing of them is recorded.
"""

import os
import platform as machine
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from kinesweep import __version__
from kinesweep.core.hashing import fingerprint

_NAMED = ("ray", "torch", "transformers", "optuna", "mlflow", "pose-format", "sacrebleu")


@cache
def provenance() -> dict[str, str]:
    """Facts about this installation; `packages` is the hash of all installed versions."""
    versions = {_plain(d.metadata["Name"]): d.version for d in distributions()}
    return {
        "kinesweep": __version__,
        "commit": _commit(Path(__file__).parent),
        "packages": fingerprint(versions)[:12],
        "python": machine.python_version(),
        **{name: versions[name] for name in _NAMED if name in versions},
        "machine": f"{machine.machine()}, {len(os.sched_getaffinity(0))} cores",
    }


def _plain(name: str) -> str:
    """A package's name as indexes write it."""
    return name.lower().replace("_", "-")


def _commit(folder: Path) -> str:
    """The commit of the checkout that the code lies in, `+changes` if it was edited; or empty."""
    head = _git(folder, "rev-parse", "HEAD")
    if not head:
        return ""
    return head + ("+changes" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(folder), *arguments]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
