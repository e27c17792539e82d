"""Provenance of results: version, commit, package versions and machine.

Environment variables and command lines may contain secrets, so they are never recorded.
"""

import os
import platform as machine
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from kinesweep.core.hashing import compute_fingerprint
from kinesweep.version import __version__

# Versions that are recorded individually; all others only enter the hash `packages`.
_RECORDED_PACKAGES = (
    "ray",
    "torch",
    "transformers",
    "optuna",
    "mlflow",
    "pose-format",
    "sacrebleu",
)


@cache
def collect_provenance() -> dict[str, str]:
    """Collect versions, commit and machine; `packages` is a hash of all installed versions."""
    versions = {_normalize_package_name(d.metadata["Name"]): d.version for d in distributions()}
    return {
        "kinesweep": __version__,
        "commit": _get_commit(Path(__file__).parent),
        "packages": compute_fingerprint(versions)[:12],
        "python": machine.python_version(),
        **{name: versions[name] for name in _RECORDED_PACKAGES if name in versions},
        # Cores that the process may use; a container or SLURM may allow fewer than there are.
        "machine": f"{machine.machine()}, {len(os.sched_getaffinity(0))} cores",
    }


def _normalize_package_name(name: str) -> str:
    """Return a package name in lower case with `-` for `_`."""
    return name.lower().replace("_", "-")


def _get_commit(folder: Path) -> str:
    """Return the commit of the checkout that contains the code, or "" outside of a checkout.

    `+changes` is appended if the code has uncommitted changes.
    """
    head = _run_git(folder, "rev-parse", "HEAD")
    if not head:
        return ""
    # Only changes below the package folder count, not those of tests or recipes.
    return head + ("+changes" if _run_git(folder, "status", "--porcelain", "--", ".") else "")


def _run_git(folder: Path, *arguments: str) -> str:
    """Run a git command and return its output, or "" if it fails or git is not installed."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
