"""Where a store comes into being: beside its final place, whole or not at all.

An extraction writes into a folder of its own and renames it at the end. Two extractions of the same
store do not meet: the second to finish finds the first one's store and throws its own away. A
folder whose extraction was killed is recognised by its lock, which the system releases with the
process, and removed by the next extraction. On file systems without locks nothing is removed.
"""

import errno
import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kinesweep.store.writer import sync_folder

_PREFIX = ".building-"
_ALIVE = "alive.lock"


@contextmanager
def workshop(root: Path) -> Iterator[Path]:
    """A new folder below `root` to build in; gone at the end unless it was published.

    Leftovers of killed extractions are removed first.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
    with _locked(root) as safe:
        if safe:
            _remove_leftovers(root)
        folder.mkdir()
        alive = (folder / _ALIVE).open("wb")
        _try_lock(alive)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        alive.close()


def publish(folder: Path, final: Path) -> bool:
    """Gives a finished folder its name; False when the name was taken by an equal store."""
    for path in (folder, *(inner for inner in folder.rglob("*") if inner.is_dir())):
        sync_folder(path)
    with _locked(final.parent):
        (folder / _ALIVE).unlink()
        try:
            folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return False
    sync_folder(final.parent)
    return True


def _remove_leftovers(root: Path) -> None:
    """Removes folders whose extraction no longer lives. Called under the root's lock."""
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            with (folder / _ALIVE).open("rb") as alive:
                dead = _try_lock(alive)
        except FileNotFoundError:
            # Killed before its lock was made, or between losing it and its new name: both happen
            # under the root's lock, which we hold now.
            dead = True
        if dead:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(root: Path) -> Iterator[bool]:
    """Holds the root's lock; yields False where the file system has none."""
    with (root / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True


def _try_lock(file: IO[bytes]) -> bool:
    """Takes a lock unless another process has it; held until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
