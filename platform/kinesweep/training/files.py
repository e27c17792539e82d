"""Files that are whole or not there: written beside, synced, renamed.

A process may be killed between any two lines. Readers see the old file or the new one.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replaces a file's content in one step."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def write_json(path: Path, value: object) -> None:
    """Replaces a file's content by JSON in one step."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replaces a folder by what `fill` writes into an empty one."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    fill(beside)
    sync_tree(beside)
    remove_folder(folder)
    beside.rename(folder)
    sync(folder.parent)


def remove_folder(folder: Path) -> None:
    """Removes a folder; a kill leaves it whole or under a name that nobody reads."""
    if not folder.exists():
        return
    aside = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside)


def sync_tree(folder: Path) -> None:
    """Brings every file and folder below (and itself) to the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Brings a file's content, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
