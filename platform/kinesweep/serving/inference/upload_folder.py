"""Folders for the files of requests, which do not outlive their replica.

A replica that is killed cannot remove what clients sent. Its folder has a lock, which ends with the
process; the next replica on the machine, or the end of the server, removes folders without one.
"""

import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_PREFIX = "kinesweep-serve-"
_LOCK = ".lock"


class UploadFolder:
    """A folder for the files of requests, which is removed with this object.

    Attributes:
        path: Folder, which this process has locked.
    """

    def __init__(self) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = (self.path / _LOCK).open("wb")
            with suppress(OSError):  # a file system without locks; nobody removes the folder then
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Another process may have removed the folder before it was locked.
            if (self.path / _LOCK).exists():
                break
            self._lock.close()
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    @contextmanager
    def make_request_folder(self) -> Iterator[Path]:
        """Make a folder for the files of one request, which exists in the `with` block."""
        with tempfile.TemporaryDirectory(dir=self.path) as folder:
            yield Path(folder)


def remove_abandoned_folders() -> None:
    """Remove the folders of replicas of this user that have died."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Other processes may remove the same folders at the same time.
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+b") as lock:
                if _try_lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)


def _try_lock(file: IO[bytes]) -> bool:
    """Try to lock a file; return False if a living process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
