"""Atomic file writes (temporary name, sync to disk, rename) and exclusive lock files.

A process may be killed between any two lines. Readers see either the old file or the new one, never
an incomplete file.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


def write_text(path: Path, text: str) -> None:
    """Create a text file (UTF-8) or replace its content, atomically and durably.

    Raises:
        OSError: If the file cannot be written, for example because its folder does not exist.
    """
    # In the same folder, because a rename is atomic only within one file system.
    temp_path = path.with_name(f".{path.name}.new")
    with temp_path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        # Without this, the rename could reach the disk before the content.
        os.fsync(file.fileno())
    temp_path.replace(path)
    # The folder holds the new name, so the rename is durable only after this.
    fsync_path(path.parent)


def write_json(path: Path, value: object) -> None:
    """Create a JSON file or replace its content, atomically and durably.

    Raises:
        ValueError: If the value contains NaN or infinity.
        TypeError: If the value contains an object that JSON cannot represent.
        OSError: If the file cannot be written.
    """
    write_text(path, format_json(value))


def format_json(value: object) -> str:
    """Format a value as the text that `write_json` writes.

    Raises:
        ValueError: If the value contains NaN or infinity.
        TypeError: If the value contains an object that JSON cannot represent.
    """
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read the value of a JSON file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file does not contain JSON.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def write_folder(folder: Path, write_files: Callable[[Path], None]) -> None:
    """Create a folder that `write_files` fills, or replace an existing one; it is never incomplete.

    The files are written to a hidden folder beside it, synced to disk and renamed. An existing
    folder is removed just before the rename, so it is missing for a moment. Missing parent folders
    are created.

    Args:
        folder: Folder to create or replace.
        write_files: Function that is called with an empty temporary folder and writes the files
            into it. If it raises an exception, an existing folder is not changed.
    """
    temp_dir = folder.with_name(f".{folder.name}.new")
    # A killed process may have left files there, which must not enter the new folder.
    shutil.rmtree(temp_dir, ignore_errors=True)
    temp_dir.mkdir(parents=True)
    write_files(temp_dir)
    fsync_tree(temp_dir)
    # A folder cannot be renamed onto one that is not empty. If the process is
    # killed between these two lines, the folder is missing, but never incomplete.
    remove_folder(folder)
    temp_dir.rename(folder)
    fsync_path(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder atomically; do nothing if it does not exist.

    It is renamed to a hidden name before its files are deleted.
    """
    if not folder.exists():
        return
    # Rename first: deleting in place could leave a folder that looks valid but lacks files.
    old_dir = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old_dir, ignore_errors=True)
    folder.rename(old_dir)
    shutil.rmtree(old_dir)


@contextmanager
def hold_lock_file(path: Path, timeout_s: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting as long as another process or thread holds it.

    The kernel releases the lock when its process dies. The file itself is never removed.

    Args:
        path: Lock file; it and missing parent folders are created.
        timeout_s: Maximum waiting time in seconds; None: wait without limit.

    Raises:
        OSError: If the file system has no locks.
        TimeoutError: If the lock is still held elsewhere after `timeout_s` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # `fallback_to_soft=False`: without the kernel's locks, the library would treat the existence of
    # the file as the lock, which a killed process would hold forever.
    lock = FileLock(path, -1 if timeout_s is None else timeout_s, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise TimeoutError(f"`{path}` is locked by another process") from None
    try:
        yield
    finally:
        lock.release()


def fsync_tree(folder: Path) -> None:
    """Flush all files and folders below a folder, and the folder itself, to disk with `fsync`."""
    for path in folder.rglob("*"):
        fsync_path(path)
    fsync_path(folder)


def fsync_path(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to disk with `fsync`."""
    # A folder can only be opened for reading, which is enough for `fsync`.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
