"""Folders of installed packages that tests need, each made once for a list of requirements.

They lie in `build/environments`, named after their requirements and the version of Python, so that
runs and parallel workers share them; `make clean` removes them. What is half made, or no longer
works, is made again.
"""

import fcntl
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kinesweep.core.hashing import compute_fingerprint

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / "build" / "environments"


def cached_environment(
    name: str,
    wanted: list[str],
    make: Callable[[Path], object],
    works: Callable[[Path], bool],
    root: Path = ENVIRONMENTS,
) -> Path:
    """Return the folder of an environment; make it where it is missing or does not work.

    Args:
        name: Prefix of the folder's name.
        wanted: Everything that the content depends on; a part of the folder's name.
        make: Fills the folder, which does not exist when it is called.
        works: Whether a folder can be used.
        root: Folder of all environments.
    """
    folder = root / f"{name}-{compute_fingerprint([wanted, sys.version_info[:2]])[:12]}"
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not works(folder):
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            assert works(folder), f"{folder} does not work although it was just made"
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among the processes of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def imports(python: str | Path, modules: Iterable[str], **environment: str) -> bool:
    """Return whether an interpreter exists and imports all of the modules."""
    command = [str(python), "-c", f"import {', '.join(modules)}"]
    try:
        done = subprocess.run(command, env=environment or None, capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def required(requirements: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return the installed distributions that pip would install for some requirements, by name.

    Raises:
        AssertionError: One of them is not installed here, or in another version than required.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in requirements]
    while todo:
        wanted, extra = todo.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        held = found.setdefault(name, importlib.metadata.distribution(name))
        assert wanted.specifier.contains(held.version, prereleases=True), (
            f"{wanted}: {held.version}"
        )
        for each in {"", *wanted.extras}:
            if (name, each) not in seen:
                seen.add((name, each))
                todo += [(Requirement(line), each) for line in held.requires or ()]
    return found


def link_distributions(
    distributions: Iterable[importlib.metadata.Distribution], folder: Path
) -> None:
    """Fill a folder with links to all that the distributions installed, and to nothing else.

    A package that several distributions share (`google`) is linked as a whole.
    """
    folder.mkdir(parents=True)
    for distribution in distributions:
        for file in distribution.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).is_symlink():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
