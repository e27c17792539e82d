"""A cache for `.npz` packs: files with many motions as `data` (sum T, J, C) and `offsets` (N+1).

NumPy decompresses such a file as a whole, so each process keeps the packs that it read last: 100 MB
are 380,000 frames of 22 joints. A corpus that does not fit into memory needs one file per motion.

Shapes: T frames, J points, C coordinates, N motions.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import ThirdCoordinate
from kinesweep.core.errors import ClipError
from kinesweep.sources.file_stamp import FileStamp, read_file_stamp
from kinesweep.sources.skeletons.motion_file import open_arrays

MAX_PACKS = 4
"""Maximum number of packs that a process keeps in memory."""

Pack = tuple[NDArray[Any], NDArray[np.int64], str | None]
"""`data` (sum T, J, C) with the frames of all motions, `offsets` (N+1) where each begins, and the
meaning of the third value of a point, `third`, which `kinesweep convert` writes."""


class NpzCache:
    """A cache of the packs that this process read last; a replaced file is read again."""

    def __init__(self) -> None:
        self._packs: OrderedDict[Path, tuple[FileStamp, Pack]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # Packs may be hundreds of megabytes; another process reads them itself.
        return {"_packs": OrderedDict()}

    def get_motion(self, path: Path, index: int, third: ThirdCoordinate = "z") -> NDArray[Any]:
        """Return one motion of a pack as a view of the cached array, in its stored type and shape.

        The pack is read if it is not cached or was replaced.

        Args:
            path: Path of the pack.
            index: Index of the motion, from 0.
            third: Meaning of the third value of a point that the recipe states.

        Raises:
            ClipError: With reason `missing_file`, `unreadable`, `pickled`, `bad_pack`,
                `no_such_motion`, or `other_third` if the pack states another meaning. The message
                names the file.
        """
        data, offsets, stated_third = self._get_pack(path)
        if stated_third not in (None, third):
            raise ClipError(
                f"`{path}` states that the third value of its points is {stated_third}, but the"
                f" recipe says {third}; set `source.third: {stated_third}`",
                "other_third",
            )
        if not 0 <= index < len(offsets) - 1:
            raise ClipError(
                f"`{path}` holds {len(offsets) - 1} motions, numbered from 0, but motion {index}"
                " was requested",
                "no_such_motion",
            )
        return data[offsets[index] : offsets[index + 1]]

    def _get_pack(self, path: Path) -> Pack:
        """Return a pack, which is read if it is not cached or was replaced.

        Raises:
            ClipError: With a reason of `get_motion`.
        """
        stamp = read_file_stamp(path)
        # Removed and inserted again: the order of the dictionary is that of the last use.
        cached_stamp, pack = self._packs.pop(path, (None, None))
        if pack is None or cached_stamp != stamp:
            pack = _read_pack(path)
        self._packs[path] = stamp, pack
        while len(self._packs) > MAX_PACKS:
            self._packs.popitem(last=False)
        return pack


def _read_pack(path: Path) -> Pack:
    """Read the arrays of a pack, and check that the offsets fit the data.

    Raises:
        ClipError: With reason `missing_file`, `unreadable`, `pickled` or `bad_pack`.
    """
    with open_arrays(path) as arrays:
        names = list(arrays)
        if not {"data", "offsets"} <= set(names):
            array_names = ", ".join(f"`{name}`" for name in names) or "nothing"
            text = f"`{path}` holds {array_names}; a pack of motions must hold `data` and `offsets`"
            raise ClipError(text, "bad_pack")
        data, offsets = np.asarray(arrays["data"]), np.asarray(arrays["offsets"])
        third = str(arrays["third"]) if "third" in names else None
    is_index_array = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    if not is_index_array or offsets[0] != 0 or (np.diff(offsets.astype(np.int64)) < 0).any():
        text = "must be whole numbers that start at 0 and never decrease"
        raise ClipError(f"`offsets` of `{path}` {text}", "bad_pack")
    if data.shape[:1] != (offsets[-1],):  # compared as tuples: `data` may be a scalar
        text = f"end at {offsets[-1]}, but `data` has the shape {data.shape}, with frames first"
        raise ClipError(f"`offsets` of `{path}` {text}", "bad_pack")
    return data, offsets.astype(np.int64), third
