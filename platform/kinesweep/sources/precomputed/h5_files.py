"""Access to feature shards: HDF5 files with one group per video and one data set (T, D) per clip.

Files are opened on first use in each process, and the last few stay open, because the clips of a
shard are read one after another. An open file is bound to its process: it is neither pickled nor
used after a fork. A shard that was replaced is opened again.

The contents of a file are not trusted. Links and data outside the file are refused, and so are data
sets that were not written completely, whose missing parts HDF5 would fill with zeros. A process
reads one file at a time; the class is not thread-safe.

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
from kinesweep.sources.decoded_size import check_decoded_size
from kinesweep.sources.file_stamp import FileStamp, read_file_stamp

MAX_OPEN_FILES = 8
"""Maximum number of files that a process keeps open: two shards of each of four streams."""


class ShardFilePool:
    """A pool of the shards that this process has open.

    Args:
        max_open: Maximum number of files that stay open.
    """

    def __init__(self, max_open: int = MAX_OPEN_FILES) -> None:
        self._max_open = max_open
        self._open: OrderedDict[Path, tuple[FileStamp, h5py.File]] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        # -1 is no process id, so the first read after unpickling starts with an empty pool.
        return {"_max_open": self._max_open, "_open": OrderedDict(), "_process": -1}

    def read(self, path: Path, *names: str) -> NDArray[np.floating]:
        """Read the features of a clip in their stored type, (T, D).

        Args:
            path: Path of the file.
            names: Names of the nested groups, such as the video, followed by that of the data set.

        Raises:
            ClipError: With reason `missing_file`, `unreadable`, `missing_features`, `wrong_shape`,
                `wrong_dtype` or `incomplete`. The message names the file and the data set.
        """
        location = f"`{'/'.join(names)}` of `{path}`"
        try:
            return _read_dataset(_open_dataset(self._open_file(path), names, location), location)
        except ClipError:
            raise
        # Damaged bytes make HDF5 fail in many ways, and h5py raises another class for each.
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
            # The library's state for a damaged file is unknown, so no file stays open.
            self.close()
            raise ClipError(
                f"{location} cannot be read: {_shorten_message(error)}", "unreadable"
            ) from None

    def close(self) -> None:
        """Close all files of the pool; the next read opens its file again."""
        while self._open:
            _, (_, file) = self._open.popitem()
            file.close()

    def _open_file(self, path: Path) -> h5py.File:
        """Return an open file from the pool, after opening it if it is new or was replaced.

        Raises:
            ClipError: With reason `missing_file`.
            OSError: If the file is not an HDF5 file or cannot be read.
        """
        if self._process != os.getpid():
            # Handles that a fork copied belong to the parent; they are dropped, never closed here.
            self._open, self._process = OrderedDict(), os.getpid()
        stamp = read_file_stamp(path)
        # Removed and inserted again: the order of the dictionary is that of the last use.
        cached_stamp, file = self._open.pop(path, (None, None))
        if file is not None and cached_stamp != stamp:
            file.close()
            file = None
        while len(self._open) >= self._max_open:
            _, (_, oldest) = self._open.popitem(last=False)
            oldest.close()
        # No process writes shards while they are read, and some network disks cannot lock files.
        open_file = file or h5py.File(path, "r", locking=False)
        self._open[path] = stamp, open_file
        return open_file


def _open_dataset(file: h5py.File, names: Sequence[str], location: str) -> h5py.h5d.DatasetID:
    """Open a data set below nested groups of a file.

    This uses h5py's low-level API, which takes two thirds of the time of the high-level one.

    Args:
        file: Open file.
        names: Names of the nested groups, followed by that of the data set.
        location: Description of the data set for error messages.

    Raises:
        ClipError: With reason `missing_features`, `wrong_shape` (the name belongs to another kind
            of object) or `unreadable` (the name is a link).
    """
    node: Any = file.id
    for depth, name in enumerate(names, 1):
        is_last = depth == len(names)
        expected_type, type_name = (
            (h5py.h5d.DatasetID, "data set") if is_last else (h5py.h5g.GroupID, "group")
        )
        key = name.encode()
        if not node.links.exists(key):
            raise ClipError(f"there is no {type_name} `{name}` for {location}", "missing_features")
        # Soft and external links may lead to any other object or file.
        if node.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            raise ClipError(f"`{name}` in {location} is a link to another place", "unreadable")
        node = h5py.h5o.open(node, key)
        if not isinstance(node, expected_type):
            raise ClipError(f"`{name}` in {location} is not a {type_name}", "wrong_shape")
    return node


def _read_dataset(data: h5py.h5d.DatasetID, location: str) -> NDArray[np.floating]:
    """Read all values of a data set, (T, D), after checking that they are complete.

    Args:
        data: Open data set.
        location: Description of the data set for error messages.

    Raises:
        ClipError: With reason `unreadable` (the data are in another file), `wrong_dtype`,
            `wrong_shape`, `incomplete` or `too_large`.
    """
    shape, dtype, creation_properties = data.shape, data.dtype, data.get_create_plist()
    layout = creation_properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or creation_properties.get_external_count():
        raise ClipError(f"{location} is stored in another file", "unreadable")
    if dtype.kind != "f":
        raise ClipError(f"{location} holds {dtype}, not floating point numbers", "wrong_dtype")
    if shape is None or len(shape) != 2 or 0 in shape:
        raise ClipError(
            f"{location} has the shape {shape}; it must be (frames, width), both 1 or more",
            "wrong_shape",
        )
    # HDF5 returns fill values (zeros) for parts that were never written, so the stored amount is
    # checked: by number of chunks, since compression makes their sizes unknown.
    if layout == h5py.h5d.CHUNKED:
        chunks_per_axis = (
            -(-size // chunk_size)
            for size, chunk_size in zip(shape, creation_properties.get_chunk(), strict=True)
        )
        is_complete = data.get_num_chunks() == math.prod(chunks_per_axis)
    else:
        is_complete = data.get_storage_size() >= math.prod(shape) * dtype.itemsize
    if not is_complete:
        raise ClipError(f"a part of {location} was never written; write it again", "incomplete")
    check_decoded_size(location, math.prod(shape) * dtype.itemsize)
    x_TD = np.empty(shape, dtype)
    data.read(h5py.h5s.ALL, h5py.h5s.ALL, x_TD)
    return x_TD


def _shorten_message(error: Exception) -> str:
    """Return the message of an HDF5 error on one line, at most 200 characters long.

    The times and addresses that HDF5 appends are removed. An empty message is replaced by the name
    of the error's class.
    """
    message = " ".join(str(error).split()).partition(" time = ")[0]
    return message[:200] or type(error).__name__
