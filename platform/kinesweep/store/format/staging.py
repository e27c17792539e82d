"""The staging folder of an extraction, and its atomic rename to the store's final folder.

An extraction writes to a folder of its own and renames it at the end. Two extractions of the same
store do not interfere: the second to finish finds the store of the first and discards its own. The
folder of a killed extraction is recognized by its lock, which the operating system releases with
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

from kinesweep.core.io import fsync_path

_STAGING_PREFIX = ".building-"
_LOCK_FILE = "alive.lock"


@contextmanager
def create_staging_dir(root: Path) -> Iterator[Path]:
    """Create a staging folder for the context, and remove it at the end unless it was committed.

    Staging folders of killed extractions are removed first, if the file system supports locks.

    Args:
        root: Folder that contains all stores; created if missing.

    Yields:
        Path of the staging folder, directly below `root`.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{_STAGING_PREFIX}{uuid.uuid4().hex[:12]}"
    # Creating the folder and locking it happen under the root's lock; otherwise another extraction
    # could see the folder unlocked and remove it.
    with _hold_root_lock(root) as has_lock:
        if has_lock:
            _remove_abandoned_dirs(root)
        folder.mkdir()
        lock_file = (folder / _LOCK_FILE).open("wb")
        # The result does not matter: without locks, no folder is ever removed as abandoned.
        _try_acquire_lock(lock_file)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # Closing releases the lock, so it comes after the removal.
        lock_file.close()


def commit_store_dir(folder: Path, final_dir: Path) -> bool:
    """Rename a finished staging folder to the final folder of the store, atomically and durably.

    Args:
        folder: Staging folder.
        final_dir: Final folder of the store.

    Returns:
        True if the folder was renamed; False if the final folder already exists and is not empty,
        because another extraction committed an equal store. The staging folder is then unchanged,
        but without its lock.

    Raises:
        OSError: If the folder cannot be renamed for another reason.
    """
    # Sync the directory entries before the rename, so that the final name never refers to a folder
    # with missing files after a power failure.
    for path in (folder, *(child for child in folder.rglob("*") if child.is_dir())):
        fsync_path(path)
    with _hold_root_lock(final_dir.parent):
        # Until the rename the folder looks abandoned; the root's lock prevents its removal.
        (folder / _LOCK_FILE).unlink()
        try:
            # `rename` replaces an empty folder at most; a non-empty one raises ENOTEMPTY or EEXIST.
            folder.rename(final_dir)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return False
    # The rename itself is durable only after a sync of the parent folder.
    fsync_path(final_dir.parent)
    return True


def _remove_abandoned_dirs(root: Path) -> None:
    """Remove the staging folders of extractions that no longer run.

    Args:
        root: Folder that contains all stores; the caller must hold its lock.
    """
    for folder in root.glob(f"{_STAGING_PREFIX}*"):
        try:
            with (folder / _LOCK_FILE).open("rb") as lock_file:
                is_abandoned = _try_acquire_lock(lock_file)
        except FileNotFoundError:
            # Killed before the lock file was created, or between its removal and the rename. Both
            # happen under the root's lock, which this process holds, so the folder is not in use.
            is_abandoned = True
        if is_abandoned:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _hold_root_lock(root: Path) -> Iterator[bool]:
    """Hold the exclusive lock of the root folder during the context, after waiting for it.

    Args:
        root: Folder that contains all stores.

    Yields:
        True if the lock is held; False if the file system does not support locks.
    """
    with (root / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True


def _try_acquire_lock(file: IO[bytes]) -> bool:
    """Try to acquire the exclusive lock of a file, without waiting.

    Closing the file releases the lock.

    Args:
        file: Open file.

    Returns:
        Whether the lock was acquired; False if another process holds it or the file system does not
        support locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
