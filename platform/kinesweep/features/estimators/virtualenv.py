"""Virtual environments of estimators, created once per machine and shared by all processes.

Estimators need package versions that conflict with those of Kinesweep (numpy below 2), so each one
runs in its own virtual environment below the state folder, named after a hash of its packages.
Ray's `runtime_env` would instead copy the whole environment for each Ray session and install the
packages into the copy.
"""

import fcntl
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinesweep.core.errors import ResourceError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.paths import state_home

# Installed in every environment: the video decoder and the file format.
ALWAYS = ("av==18.1.0", "pose-format==0.15.0")
# Written last; an environment without this file is incomplete.
_READY = "ready.json"


def environment_python(name: str, requirements: tuple[str, ...]) -> Path:
    """Return the interpreter of an estimator's environment; create the environment if needed.

    Args:
        name: Name of the estimator.
        requirements: Requirements for pip; if empty, the current interpreter is returned.

    Raises:
        ResourceError: If the installation fails; with the last lines of pip's output.
    """
    if not requirements:
        return Path(sys.executable)
    wanted = [*ALWAYS, *requirements]
    folder = state_home() / "environments" / f"{name}-{_key(wanted)}"
    python = folder / "bin" / "python"
    if (folder / _READY).is_file():
        return python
    # Checked again under the lock: another process may have created it in the meantime. What an
    # interrupted attempt left is removed first.
    with _locked(folder.with_name(f"{folder.name}.lock")):
        if not (folder / _READY).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, python, wanted)
            (folder / _READY).write_text(json.dumps(wanted))
    return python


def _make(folder: Path, python: Path, wanted: list[str]) -> None:
    """Create a virtual environment and install the packages; remove it on failure."""
    make = [sys.executable, "-m", "venv", str(folder)]
    install = ["install", "--quiet", "--disable-pip-version-check", *wanted]
    # Prefer the installed pip: the one bundled with Python is years old and half as fast.
    if importlib.util.find_spec("pip") is not None:
        make.append("--without-pip")
        pip = [sys.executable, "-m", "pip", f"--python={python}"]
    else:
        pip = [str(python), "-m", "pip"]
    for command in (make, [*pip, *install]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            said = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise ResourceError(
                f"the environment with {', '.join(wanted)} could not be created: {said}"
            )


def _key(wanted: list[str]) -> str:
    """Hash the packages and the Python version, 12 digits."""
    return fingerprint([wanted, sys.version_info[:2]])[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; other processes wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
