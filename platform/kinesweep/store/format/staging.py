"""The staging folder of an extraction, and its atomic rename to the store's final folder.

An extraction writes to a folder of its own and renames it at the end. Two extractions of the same
store do not interfere: the second to finish finds the store of the first and discards its own. The
folder of a killed extraction is recognised by its lock, which the operating system releases with
the process, and is removed by the next extraction. On file systems without locks nothing is
removed.
"""

import errno
import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kinesweep.store.format.writer import sync_folder

_PREFIX = ".building-"
_ALIVE = "alive.lock"


@contextmanager
def staging_dir(root: Path) -> Iterator[Path]:
    """Yield a new staging folder below `root`; remove it at the end unless it was published.

    Leftovers of killed extractions are removed first.

    Args:
        root: Folder that contains all stores; created if missing.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
    # Creating the folder and locking it happen under the root's lock; otherwise another extraction
    # could see the folder unlocked and remove it.
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
        # Closing releases the lock, so it comes after the removal.
        alive.close()


def commit(folder: Path, final: Path) -> bool:
    """Rename a finished folder to its final name.

    Args:
        folder: Staging folder.
        final: Final folder of the store.

    Returns:
        True if the folder was renamed; False if an equal store already has the final name.
    """
    # Sync the directory entries before the rename, so that the final name never refers to a folder
    # with missing files after a power failure.
    for path in (folder, *(inner for inner in folder.rglob("*") if inner.is_dir())):
        sync_folder(path)
    with _locked(final.parent):
        # Until the rename the folder looks abandoned; the root's lock prevents its removal.
        (folder / _ALIVE).unlink()
        try:
            # `rename` replaces an empty folder at most; a non-empty one raises ENOTEMPTY or EEXIST.
            folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return False
    # The rename itself is durable only after a sync of the parent folder.
    sync_folder(final.parent)
    return True


def _remove_leftovers(root: Path) -> None:
    """Remove folders of extractions that no longer run; the caller holds the root's lock."""
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            with (folder / _ALIVE).open("rb") as alive:
                dead = _try_lock(alive)
        except FileNotFoundError:
            # Killed before the lock file was created, or between its removal and the rename. Both
            # happen under the root's lock, which this process holds, so the folder is not in use.
            dead = True
        if dead:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(root: Path) -> Iterator[bool]:
    """Hold the root's lock; yield False if the file system does not support locks."""
    with (root / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True


def _try_lock(file: IO[bytes]) -> bool:
    """Take a lock unless another process holds it; closing the file releases it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
