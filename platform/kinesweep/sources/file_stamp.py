"""Stamps by which caches of opened files notice that a file was replaced."""

from pathlib import Path

from kinesweep.core.errors import ClipError

FileStamp = tuple[int, int, int]
"""Stamp of a file that shows a change: inode, size in bytes, modification time in nanoseconds."""


def read_file_stamp(path: Path) -> FileStamp:
    """Read the stamp of a file from the file system.

    Raises:
        ClipError: With reason `missing_file`, if the file does not exist.
        OSError: If the file system cannot be read.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise ClipError(f"`{path}` does not exist", "missing_file") from None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
