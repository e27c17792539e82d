"""Virtual environments of other packages, created once per machine and shared by all processes.

Estimators and COMET need package versions that conflict with those of Kinesweep (numpy below 2), so
each one runs in its own virtual environment below the state folder, named after a hash of its
packages.
Ray's `runtime_env` would instead copy the whole environment for each Ray session and install the
packages into the copy.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from kinesweep.core.errors import ResourceError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.io import hold_lock_file
from kinesweep.core.paths import get_state_dir

# Installed in every environment: the video decoder and the file format.
BASE_REQUIREMENTS = ("av==18.1.0", "pose-format==0.15.0")
# Written last; an environment without this file is incomplete.
_READY_FILE = "ready.json"


def get_environment_python(
    name: str,
    requirements: tuple[str, ...],
    base: tuple[str, ...] = BASE_REQUIREMENTS,
    shares_packages: bool = False,
) -> Path:
    """Return the path of the Python interpreter of an environment.

    The environment is created if it does not exist yet; pip then downloads the packages.

    Args:
        name: Name of the estimator or metric.
        requirements: Requirements that pip installs; if empty, the estimator has no environment of
            its own and the current interpreter is returned.
        base: Requirements that are installed besides.
        shares_packages: Whether the environment sees the packages of this process where it has no
            version of its own. The same build of torch then serves both.

    Raises:
        ResourceError: If the environment cannot be created; with the last lines of the output.
    """
    if not requirements:
        return Path(sys.executable)
    packages = [*base, *requirements]
    shared_dir = sysconfig.get_path("purelib") if shares_packages else None
    folder = get_state_dir() / "environments" / f"{name}-{_hash_packages(packages, shared_dir)}"
    python = folder / "bin" / "python"
    if (folder / _READY_FILE).is_file():
        return python
    # Checked again under the lock: another process may have created it in the meantime. The
    # files of an interrupted attempt are removed first.
    with hold_lock_file(folder.with_name(f"{folder.name}.lock")):
        if not (folder / _READY_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _create_environment(folder, python, packages, shared_dir)
            (folder / _READY_FILE).write_text(json.dumps(packages))
    return python


def has_environment(
    name: str, requirements: tuple[str, ...], base: tuple[str, ...] = BASE_REQUIREMENTS
) -> bool:
    """Return whether the environment of `get_environment_python` exists, so that none is created.

    Args:
        name: Name of the estimator.
        requirements: Requirements of the estimator; without any it needs no environment.
        base: Requirements that are installed besides.
    """
    folder = get_state_dir() / "environments" / f"{name}-{_hash_packages([*base, *requirements])}"
    return not requirements or (folder / _READY_FILE).is_file()


def _create_environment(
    folder: Path, python: Path, packages: list[str], shared_dir: str | None
) -> None:
    """Create a virtual environment in a folder and install packages; remove it on failure.

    Args:
        folder: Folder of the environment.
        python: Path that its Python interpreter will have.
        packages: Requirements that pip installs.
        shared_dir: Folder of packages that the environment sees besides its own; None: no other.

    Raises:
        ResourceError: If a command fails; with the last lines of its output.
    """
    create_command = [sys.executable, "-m", "venv", str(folder)]
    install_args = ["install", "--quiet", "--disable-pip-version-check", *packages]
    # Prefer the installed pip: the one bundled with Python is years old and half as fast.
    if importlib.util.find_spec("pip") is not None:
        create_command.append("--without-pip")
        pip = [sys.executable, "-m", "pip", f"--python={python}"]
    else:
        pip = [str(python), "-m", "pip"]
    for command in (create_command, [*pip, *install_args]):
        if command is not create_command and shared_dir is not None:
            # Read before pip runs, which then installs only what is missing or of another version.
            packages_dir = folder / "lib" / Path(shared_dir).parent.name / "site-packages"
            (packages_dir / "shared.pth").write_text(f"{shared_dir}\n")
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            output = " ".join((result.stderr or result.stdout).strip().splitlines()[-3:])
            raise ResourceError(
                f"the environment with {', '.join(packages)} could not be created: {output}"
            )


def _hash_packages(packages: list[str], shared_dir: str | None = None) -> str:
    """Compute a hash of the packages and the Python version, 12 hexadecimal digits."""
    shared = [] if shared_dir is None else [shared_dir]
    return compute_fingerprint([packages, sys.version_info[:2], *shared])[:12]
