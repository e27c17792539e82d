"""The journal of the rows of one split: which media files each row gave, with their hashes.

A corpus whose rows contain its poses (TensorFlow Datasets, Hugging Face) takes hours to write. Each
row is appended to a JSON Lines file once its media files are complete. When the preparation is run
again, the files of each line are compared with their sizes and hashes; rows that pass are not
written again. Hashing costs about 1 s per GB; without it, files that a full disk cut off would
pass.

This module also runs in the environment of TensorFlow Datasets, so it uses only the standard
library.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

_MAX_NAME_CHARS = 120
_MAX_NAME_BYTES = 200
"""Longest file name without its suffix; file systems allow 255 bytes with suffix and position."""


class RowJournal:
    """The rows of a split that are complete, by their position in the split.

    Lines of an earlier process are verified when the journal is opened; those that are cut off, or
    whose files are missing or differ, are removed.

    Args:
        path: JSON Lines file of the split; it and missing parent folders are created.
        root: Folder that the media files of the rows are relative to.

    Attributes:
        num_kept: Number of rows of an earlier process that are complete.
        num_lost: Number of lines of an earlier process that were removed.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self._root = root
        self._path = path
        self._used_names: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        valid_lines = [line for line in lines if self._is_complete(line)]
        self._indices = {json.loads(line)["index"] for line in valid_lines}
        self.num_kept, self.num_lost = len(valid_lines), len(lines) - len(valid_lines)
        if self.num_lost:
            write_file(path, lambda file: file.writelines(valid_lines))

    def __contains__(self, index: int) -> bool:
        """Return whether the row at a position of the split is complete."""
        return index in self._indices

    def count_leading_rows(self) -> int:
        """Return the number of complete rows before the first one that is not."""
        count = 0
        while count in self._indices:
            count += 1
        return count

    def choose_name(self, clip_id: str, index: int) -> str:
        """Return a file name without suffix that no other row of the split uses.

        Args:
            clip_id: Id of the row; characters that file names should not contain are replaced.
            index: Position of the row in the split, which makes repeated names different.
        """
        # A leading dot would hide the file, and a leading dash looks like an option.
        name = re.sub(r"[^\w.-]", "_", clip_id)[:_MAX_NAME_CHARS].lstrip(".-")
        # A character of another script takes up to four bytes.
        name = name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "row"
        return f"{name}-{index}" if name != clip_id or name in self._used_names else name

    def append(self, index: int, name: str, row: dict[str, Any], files: list[str]) -> None:
        """Append a row whose media files are complete.

        Args:
            index: Position of the row in the split.
            name: File name that `choose_name` returned for the row.
            row: Metadata of the row, plain values.
            files: Paths of its media files relative to the root, in POSIX form.
        """
        digests = {file: _digest_file(self._root / file) for file in files}
        entry = {"index": index, "name": name, "files": digests, "row": row}
        # The line follows its files, so a killed process leaves no line without them; half a line
        # is recognised by the missing newline.
        with self._path.open("ab") as file:
            file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        self._indices.add(index)
        self._used_names.add(name)

    def _is_complete(self, line: bytes) -> bool:
        """Return whether a line is whole and its media files are those that were written."""
        try:
            entry = json.loads(line)
            complete = line.endswith(b"\n") and all(
                digest == _digest_file(self._root / file) for file, digest in entry["files"].items()
            )
            name = entry["name"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if complete:
            self._used_names.add(name)
        return bool(complete)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a journal in the order of the split.

    Args:
        path: JSON Lines file of the split, complete.
    """
    if not path.is_file():
        return []
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    # A row that was lost is written again after later ones.
    entries.sort(key=lambda entry: entry["index"])
    return [entry["row"] for entry in entries]


def write_file(path: Path, write_content: Callable[[BinaryIO], object]) -> None:
    """Create a file or replace it; a killed process leaves the old file or the new one.

    Args:
        path: File to write; missing parent folders are created.
        write_content: Function that is called with the open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary_path = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary_path.open("wb") as file:
            write_content(file)
        temporary_path.replace(path)
    finally:
        temporary_path.unlink(missing_ok=True)


def link_file(source: Path, path: Path) -> None:
    """Create a hard link to a file, or a copy where the file system has no links to it.

    Args:
        source: Existing file.
        path: New name, which is replaced if it exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # `os.link` does not replace a file.
    path.unlink(missing_ok=True)
    try:
        # The file itself, not a symbolic link to it, which may be removed later.
        os.link(source.resolve(), path)
    except OSError:
        with source.open("rb") as content:
            write_file(path, lambda file: shutil.copyfileobj(content, file))


def _digest_file(path: Path) -> list[Any]:
    """Return the size of a file in bytes and its SHA-256."""
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
