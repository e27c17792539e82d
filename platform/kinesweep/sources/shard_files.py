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
            return _read(_data_set(self._file(path), names, where), where)
        except ClipError:
            raise
        # Damaged bytes make HDF5 fail in many ways, and h5py gives each another class.
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
            self.close()
            raise ClipError(f"{where} cannot be read: {_short(error)}", "unreadable") from None

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


def _data_set(file: h5py.File, names: Sequence[str], where: str) -> h5py.h5d.DatasetID:
    """The data set below some groups, by h5py's lower floor: two thirds of the upper one's time.

    Raises:
        ClipError: reason `missing_features`, `wrong_shape` (something else of this name) or
            `unreadable` (it lies in another file).
    """
    here: Any = file.id
    for depth, name in enumerate(names, 1):
        last = depth == len(names)
        kind, what = (h5py.h5d.DatasetID, "data set") if last else (h5py.h5g.GroupID, "group")
        key = name.encode()
        if not here.links.exists(key):
            raise ClipError(f"there is no {what} `{name}` for {where}", "missing_features")
        if here.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            raise ClipError(f"`{name}` in {where} is a link to another place", "unreadable")
        here = h5py.h5o.open(here, key)
        if not isinstance(here, kind):
            raise ClipError(f"`{name}` in {where} is no {what}", "wrong_shape")
    return here


def _read(data: h5py.h5d.DatasetID, where: str) -> NDArray[np.floating]:
    """The values of a data set that are features of a clip.

    Raises:
        ClipError: reason `unreadable` (they lie in another file), `wrong_dtype`, `wrong_shape` or
            `incomplete`.
    """
    shape, dtype, made = data.shape, data.dtype, data.get_create_plist()
    layout = made.get_layout()
    if layout == h5py.h5d.VIRTUAL or made.get_external_count():
        raise ClipError(f"{where} lies in another file", "unreadable")
    if dtype.kind != "f":
        raise ClipError(f"{where} holds {dtype}, not floating point numbers", "wrong_dtype")
    if shape is None or len(shape) != 2 or 0 in shape:
        raise ClipError(
            f"{where} has the shape {shape}; it must be (frames, width), both 1 or more",
            "wrong_shape",
        )
    if layout == h5py.h5d.CHUNKED:
        pieces = (-(-size // one) for size, one in zip(shape, made.get_chunk(), strict=True))
        whole = data.get_num_chunks() == math.prod(pieces)
    else:
        whole = data.get_storage_size() >= math.prod(shape) * dtype.itemsize
    if not whole:
        raise ClipError(f"a part of {where} was never written", "incomplete")
    x_TD = np.empty(shape, dtype)
    data.read(h5py.h5s.ALL, h5py.h5s.ALL, x_TD)
    return x_TD


def _short(error: Exception) -> str:
    """What HDF5 says, in a line, without the time and addresses that it likes to add."""
    said = " ".join(str(error).split()).partition(" time = ")[0]
    return said[:200] or type(error).__name__
