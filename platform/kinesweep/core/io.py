"""Atomic file writes: write to a temporary name, sync to disk, rename.

A process may be killed between any two lines. Readers see either the old file or the new one, never
a part of it.
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
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        # Without this, the rename could reach the disk before the content.
        os.fsync(file.fileno())
    beside.replace(path)
    # The folder holds the new name, so the rename is durable only after this.
    sync(path.parent)


def write_json(path: Path, value: object) -> None:
    """Replace the content of a file with JSON atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read the value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replace a folder atomically with the files that `fill` writes.

    Args:
        folder: Folder to replace.
        fill: Function that writes the files into an empty folder.
    """
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    fill(beside)
    sync_tree(beside)
    # A folder cannot be renamed onto one that is not empty. A kill between these two lines leaves
    # no folder, never half of one.
    remove_folder(folder)
    beside.rename(folder)
    sync(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that a kill leaves it complete or under a name that nobody reads."""
    if not folder.exists():
        return
    # Rename first: deleting in place could leave a folder that looks valid but lacks files.
    aside = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside)


def sync_tree(folder: Path) -> None:
    """Flush all files and folders below a folder, and the folder itself, to disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
