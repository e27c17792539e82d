"""Shards of features: HDF5 files that hold a group a video and in it a data set a clip, (T, D).

Files are opened on first use in each process and the last few stay open, since clips of one shard
come one after another; an open file is bound to its process, so it neither pickles nor is used
after a fork. A shard that was replaced is opened anew. What a file says is not trusted: links and
data outside of it are refused, and so is a data set of which a part was never written, whose place
HDF5 would fill with zeros. One process reads one file at a time; not for threads.

Shapes: T frames, D width.
"""

import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError

MOST_OPEN = 8
"""Files a process keeps open: two shards of four streams."""

Mark = tuple[int, int, int]
"""Of a file: number, size, time of its last change."""


class ShardFiles:
    """Shards that this process has open.

    Args:
        most: files that stay open.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._open: OrderedDict[Path, tuple[Mark, h5py.File]] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_most": self._most, "_open": OrderedDict(), "_process": -1}

    def read(self, path: Path, *names: str) -> NDArray[np.floating]:
        """A clip's features in their own type, (T, D).

        Args:
            path: the file.
            names: of the groups, such as the video, and of the data set.

        Raises:
            ClipError: reason `missing_file`, `unreadable`, `missing_features`, `wrong_shape`,
                `wrong_dtype` or `incomplete`; it names the file and what should be in there.
        """
        where = f"`{'/'.join(names)}` of `{path}`"
        try:
            found = _data_set(self._file(path), names, where)
            _check(found, where)
            x_TD: NDArray[np.floating] = found[()]
        except ClipError:
            raise
        # Damaged bytes make HDF5 fail in many ways, and h5py gives each another class.
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
            self.close()
            raise ClipError(f"{where} cannot be read: {_short(error)}", "unreadable") from None
        return x_TD

    def close(self) -> None:
        """Closes all files."""
        while self._open:
            _, (_, file) = self._open.popitem()
            file.close()

    def _file(self, path: Path) -> h5py.File:
        """An open file.

        Raises:
            ClipError: reason `missing_file`.
            OSError: it is no HDF5 file.
        """
        if self._process != os.getpid():
            # What a fork copied belongs to the other process; closing it here would be its end.
            self._open, self._process = OrderedDict(), os.getpid()
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise ClipError(f"`{path}` does not exist", "missing_file") from None
        mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known, file = self._open.pop(path, (None, None))
        if file is not None and known != mark:
            file.close()
            file = None
        while len(self._open) >= self._most:
            _, (_, oldest) = self._open.popitem(last=False)
            oldest.close()
        # Nobody writes shards while they are read, and some network disks cannot lock.
        opened = file or h5py.File(path, "r", locking=False)
        self._open[path] = mark, opened
        return opened


def _data_set(file: h5py.File, names: Sequence[str], where: str) -> h5py.Dataset:
    """The data set below some groups.

    Raises:
        ClipError: reason `missing_features`, `wrong_shape` (something else of this name) or
            `unreadable` (it lies in another file).
    """
    here: Any = file
    for depth, name in enumerate(names, 1):
        last = depth == len(names)
        kind, what = (h5py.Dataset, "data set") if last else (h5py.Group, "group")
        link = here.get(name, getlink=True)
        if link is None:
            raise ClipError(f"there is no {what} `{name}` for {where}", "missing_features")
        if not isinstance(link, h5py.HardLink):
            raise ClipError(f"`{name}` in {where} is a link to another place", "unreadable")
        here = here[name]
        if not isinstance(here, kind):
            raise ClipError(f"`{name}` in {where} is no {what}", "wrong_shape")
    if here.is_virtual or here.external:
        raise ClipError(f"{where} lies in another file", "unreadable")
    return here


def _check(data: h5py.Dataset, where: str) -> None:
    """Refuses what are no features of a clip.

    Raises:
        ClipError: reason `wrong_dtype`, `wrong_shape` or `incomplete`.
    """
    shape, dtype = data.shape, data.dtype
    if dtype.kind != "f":
        raise ClipError(f"{where} holds {dtype}, not floating point numbers", "wrong_dtype")
    if shape is None or len(shape) != 2 or 0 in shape:
        raise ClipError(
            f"{where} has the shape {shape}; it must be (frames, width), both 1 or more",
            "wrong_shape",
        )
    if data.chunks is None:
        whole = data.id.get_storage_size() >= math.prod(shape) * dtype.itemsize
    else:
        pieces = [-(-size // piece) for size, piece in zip(shape, data.chunks, strict=True)]
        whole = data.id.get_num_chunks() == math.prod(pieces)
    if not whole:
        raise ClipError(f"a part of {where} was never written", "incomplete")


def _short(error: Exception) -> str:
    """What a library says, in a line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
