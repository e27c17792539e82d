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
    """Collect the versions, the commit and the machine that results were computed with.

    They are collected once per process and then cached.

    Returns:
        `kinesweep`, `commit` (with `+changes` if the package was modified, `+unknown` if git cannot
        tell; "" outside of a checkout), `packages` (hash of the versions of all
        installed packages), `python`, the versions of the packages that are recorded individually,
        and `machine` (architecture and number of usable cores).
    """
    versions = {
        _normalize_package_name(distribution.metadata["Name"]): distribution.version
        for distribution in distributions()
    }
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
    """Normalize a package name to lower case with `-` instead of `_`."""
    return name.lower().replace("_", "-")


def _get_commit(folder: Path) -> str:
    """Return the commit of the checkout that contains a folder, or "" if git reports none.

    `+changes` is appended if there are uncommitted changes below the folder, `+unknown` if git
    cannot tell.
    """
    head = _run_git(folder, "rev-parse", "HEAD")
    if not head:
        return ""
    # Only changes below the package folder count, not those of tests or recipes.
    changes = _run_git(folder, "status", "--porcelain", "--", ".")
    # A large checkout on a slow disk may exceed the time limit; that is no proof of a clean one.
    if changes is None:
        return f"{head}+unknown"
    return f"{head}+changes" if changes else head


def _run_git(folder: Path, *arguments: str) -> str | None:
    """Run a git command in a folder and return its output without surrounding white space.

    The result is None if the command fails or takes more than 10 s, or git is not installed.
    """
    try:
        command = ["git", "-C", str(folder), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
