"""Atomic file writes: write to a temporary name, sync to disk, rename.

A process may be killed between any two lines. Readers see either the old file or the new one, never
an incomplete file.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replace the content of a file atomically."""
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
    """Replace the content of a file with JSON atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read the value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_folder(folder: Path, write_files: Callable[[Path], None]) -> None:
    """Replace a folder atomically with one that `write_files` fills.

    Args:
        folder: Folder to replace.
        write_files: Function that writes the files into an empty folder.
    """
    temp_dir = folder.with_name(f".{folder.name}.new")
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
    """Remove a folder atomically: it is renamed to a hidden name before its files are deleted."""
    if not folder.exists():
        return
    # Rename first: deleting in place could leave a folder that looks valid but lacks files.
    old_dir = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old_dir, ignore_errors=True)
    folder.rename(old_dir)
    shutil.rmtree(old_dir)


def fsync_tree(folder: Path) -> None:
    """Flush all files and folders below a folder, and the folder itself, to disk with `fsync`."""
    for path in folder.rglob("*"):
        fsync_path(path)
    fsync_path(folder)


def fsync_path(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to disk with `fsync`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
