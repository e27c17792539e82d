"""An estimator's own environment: made once on a machine, used by every process after that.

Estimators need versions that ours excludes (numpy below 2), so their code runs in a virtual
environment of theirs, below the state folder, named after what is in it. Ray's `runtime_env` would
copy our whole environment for each session of Ray and then install into the copy.
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

ALWAYS = ("av==18.1.0", "pose-format==0.15.0")
"""In every environment: the decoder and the file format."""
_READY = "ready.json"


def environment_python(name: str, requirements: tuple[str, ...]) -> Path:
    """The interpreter of an estimator's environment, which is made if it is not there.

    Args:
        name: of the estimator.
        requirements: what pip installs; none: our own interpreter.

    Raises:
        ResourceError: pip could not install them; with its last words.
    """
    if not requirements:
        return Path(sys.executable)
    wanted = [*ALWAYS, *requirements]
    folder = state_home() / "environments" / f"{name}-{_key(wanted)}"
    python = folder / "bin" / "python"
    if (folder / _READY).is_file():
        return python
    with _locked(folder.with_name(f"{folder.name}.lock")):
        if not (folder / _READY).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, python, wanted)
            (folder / _READY).write_text(json.dumps(wanted))
    return python


def _make(folder: Path, python: Path, wanted: list[str]) -> None:
    make = [sys.executable, "-m", "venv", str(folder)]
    install = ["install", "--quiet", "--disable-pip-version-check", *wanted]
    # Our own pip where there is one: Python brings one that is years old and half as fast.
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
            raise ResourceError(f"no environment with {', '.join(wanted)} can be made: {said}")


def _key(wanted: list[str]) -> str:
    """Names the packages and the interpreter."""
    return fingerprint([wanted, sys.version_info[:2]])[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process makes it, the others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
