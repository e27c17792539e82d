"""Many motions in one `.npz`: `data` (sum T, J, C) and `offsets` (N+1).

NumPy unpacks such a file whole, so a process keeps the last ones that it read: 100 MB are 380,000
frames of 22 joints. A corpus that is larger than memory is one of single files.

Shapes: T frames, J points, C coordinates, N motions.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.sources.motion_file import arrays_of

MOST_PACKS = 4

Mark = tuple[int, int, int]
"""Of a file: number, size, time of its last change."""
Pack = tuple[NDArray[Any], NDArray[np.int64]]
"""`data` and `offsets`."""


class Packs:
    """The packs that this process has read last; a replaced one is read anew."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, tuple[Mark, Pack]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"_known": OrderedDict()}

    def motion(self, path: Path, number: int) -> NDArray[Any]:
        """One motion of a pack, a view.

        Raises:
            ClipError: reason `missing_file`, `unreadable`, `pickled`, `bad_pack` or
                `no_such_motion`; the message names the file.
        """
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise ClipError(f"`{path}` does not exist", "missing_file") from None
        mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known, pack = self._known.pop(path, (None, None))
        if pack is None or known != mark:
            pack = _read_pack(path)
        self._known[path] = mark, pack
        while len(self._known) > MOST_PACKS:
            self._known.popitem(last=False)
        data, offsets = pack
        if not 0 <= number < len(offsets) - 1:
            raise ClipError(
                f"`{path}` holds {len(offsets) - 1} motions, counted from 0, but {number} is asked"
                " for",
                "no_such_motion",
            )
        return data[offsets[number] : offsets[number + 1]]


def _read_pack(path: Path) -> Pack:
    """A whole pack.

    Raises:
        ClipError: reason `bad_pack`.
    """
    with arrays_of(path) as found:
        names = list(found)
        if not {"data", "offsets"} <= set(names):
            held = ", ".join(f"`{name}`" for name in names) or "nothing"
            text = f"`{path}` holds {held}; many motions are `data` and `offsets`"
            raise ClipError(text, "bad_pack")
        data, offsets = np.asarray(found["data"]), np.asarray(found["offsets"])
    steps = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    if not steps or offsets[0] != 0 or (np.diff(offsets.astype(np.int64)) < 0).any():
        text = "must be whole numbers that begin with 0 and never fall"
        raise ClipError(f"`offsets` of `{path}` {text}", "bad_pack")
    if data.shape[:1] != (offsets[-1],):
        text = f"end at {offsets[-1]}, but `data` is {data.shape}: its frames come first"
        raise ClipError(f"`offsets` of `{path}` {text}", "bad_pack")
    return data, offsets.astype(np.int64)
