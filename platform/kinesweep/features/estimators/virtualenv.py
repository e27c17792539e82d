"""Virtual environments of estimators, created once per machine and shared by all processes.

Estimators need package versions that conflict with those of Kinesweep (numpy below 2), so each one
runs in its own virtual environment below the state folder, named after a hash of its packages.
Ray's `runtime_env` would instead copy the whole environment for each Ray session and install the
packages into the copy.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

from kinesweep.core.errors import ResourceError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.io import hold_lock_file
from kinesweep.core.paths import get_state_dir

# Installed in every environment: the video decoder and the file format.
BASE_REQUIREMENTS = ("av==18.1.0", "pose-format==0.15.0")
# Written last; an environment without this file is incomplete.
_READY_FILE = "ready.json"


def get_environment_python(name: str, requirements: tuple[str, ...]) -> Path:
    """Return the path of the Python interpreter of an estimator's environment.

    The environment is created if it does not exist yet; pip then downloads the packages.

    Args:
        name: Name of the estimator.
        requirements: Requirements that pip installs; if empty, the estimator has no environment of
            its own and the current interpreter is returned.

    Raises:
        ResourceError: If the environment cannot be created; with the last lines of the output.
    """
    if not requirements:
        return Path(sys.executable)
    packages = [*BASE_REQUIREMENTS, *requirements]
    folder = get_state_dir() / "environments" / f"{name}-{_hash_packages(packages)}"
    python = folder / "bin" / "python"
    if (folder / _READY_FILE).is_file():
        return python
    # Checked again under the lock: another process may have created it in the meantime. The
    # files of an interrupted attempt are removed first.
    with hold_lock_file(folder.with_name(f"{folder.name}.lock")):
        if not (folder / _READY_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _create_environment(folder, python, packages)
            (folder / _READY_FILE).write_text(json.dumps(packages))
    return python


def _create_environment(folder: Path, python: Path, packages: list[str]) -> None:
    """Create a virtual environment in a folder and install packages; remove it on failure.

    Args:
        folder: Folder of the environment.
        python: Path that its Python interpreter will have.
        packages: Requirements that pip installs.

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
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            output = " ".join((result.stderr or result.stdout).strip().splitlines()[-3:])
            raise ResourceError(
                f"the environment with {', '.join(packages)} could not be created: {output}"
            )


def _hash_packages(packages: list[str]) -> str:
    """Compute a hash of the packages and the Python version, 12 hexadecimal digits."""
    return compute_fingerprint([packages, sys.version_info[:2]])[:12]
