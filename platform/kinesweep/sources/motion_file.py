"""Skeletons over time out of NumPy's files: an `.npy`, an `.npz` of one motion, or of many.

Coordinates of a motion come out, float32 (T, J, C), checked against the skeleton: its J, 2 or 3
coordinates, numbers all of them. A pack is an `.npz` with `data` (sum T, J, C) and `offsets` (N+1);
NumPy unpacks it whole, so a process keeps the last packs it read (100 MB are 380,000 frames of 22
joints); a corpus that is larger than memory is one of single files. Nothing is ever unpickled.

Shapes: T frames, J points, C coordinates, N motions.
"""

import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.pickles import PICKLES, refusal
from kinesweep.core.skeleton import Skeleton
from kinesweep.sources.pose_rows import POSE_SUFFIX

PACK_SUFFIX = ".npz"
MOTION_SUFFIXES = (".npy", PACK_SUFFIX, POSE_SUFFIX)
HYBRIK = ("pred_xyz_29", "pred_xyz_24")
"""What HybrIK calls its joints; the first 22 are the body joints of SMPL."""
MOST_PACKS = 4
_COORDINATES = (2, 3)
_DAMAGE = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for damaged files."""

Mark = tuple[int, int, int]
"""Of a file: number, size, time of its last change."""
Pack = tuple[NDArray[Any], NDArray[np.int64]]
"""`data` (sum T, J, C) and `offsets` (N+1)."""


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


def read_motion(path: Path, skeleton: Skeleton) -> NDArray[Any]:
    """The one motion of an `.npy` or `.npz`, as it is stored; of HybrIK's joints the body's.

    Raises:
        ClipError: reason `missing_file`, `unreadable`, `pickled`, `which_motion` (an `.npz` of
            several arrays) or `wrong_shape`; the message names the file.
    """
    with _arrays(path) as found:
        for key in HYBRIK:
            if key in found:
                return _body_joints(found[key], key, path, skeleton)
        names = list(found)
        if len(names) == 1:
            return found[names[0]]
    held = ", ".join(f"`{name}`" for name in names) or "nothing"
    raise ClipError(
        f"`{path}` holds {held}; a motion is the only array, or `{HYBRIK[0]}`; of a pack with"
        f" `data` and `offsets` name one by its number: `{path.name}#0`",
        "which_motion",
    )


def joints_of(x: NDArray[Any], skeleton: Skeleton, path: Path) -> NDArray[Any]:
    """A stored motion as (T, J, C).

    Args:
        x: (T, J, C) or (T, J·C), 2 or 3 coordinates.
        skeleton: whose points they are.
        path: of the file, for messages.

    Raises:
        ClipError: reason `wrong_dtype` or `wrong_shape`.
    """
    if x.dtype.kind != "f":
        raise ClipError(f"`{path}` holds {x.dtype}, not floating point numbers", "wrong_dtype")
    points = skeleton.num_points
    if x.ndim == 2 and x.shape[1] in [points * dims for dims in _COORDINATES]:
        x = x.reshape(len(x), points, -1)
    if x.ndim != 3 or x.shape[1] != points or x.shape[2] not in _COORDINATES:
        raise ClipError(
            f"`{path}` holds an array {x.shape}; a motion of `{skeleton.name}` is (frames,"
            f" {points}, 2 or 3), or flat; see `source.skeleton`",
            "wrong_shape",
        )
    return x


def with_suffix(root: Path, file: str) -> str:
    """The name of a motion's file below a folder; that of a row's id lacks its suffix.

    Raises:
        ClipError: reason `pickled`, or `ambiguous_file` where there are two.
    """
    if PurePosixPath(file).suffix.lower() in MOTION_SUFFIXES:
        return file
    there = [s for s in (*MOTION_SUFFIXES, *PICKLES) if (root / (file + s)).is_file()]
    motions = [suffix for suffix in there if suffix in MOTION_SUFFIXES]
    if len(motions) > 1:
        text = f"`{file}` may be {' or '.join(motions)}; name one by a column `motion`"
        raise ClipError(text, "ambiguous_file")
    if there and not motions:
        path = root / (file + there[0])
        raise ClipError(f"`{path}` {refusal(path)}", "pickled")
    return file + motions[0] if motions else file


def _read_pack(path: Path) -> Pack:
    """A whole pack.

    Raises:
        ClipError: reason `bad_pack`.
    """
    with _arrays(path) as found:
        names = list(found)
        if not {"data", "offsets"} <= set(names):
            held = ", ".join(f"`{name}`" for name in names) or "nothing"
            text = f"`{path}` holds {held}; many motions are `data` and `offsets`"
            raise ClipError(text, "bad_pack")
        data, offsets = found["data"], found["offsets"]
    steps = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    if not steps or offsets[0] != 0 or (np.diff(offsets.astype(np.int64)) < 0).any():
        text = "must be whole numbers that begin with 0 and never fall"
        raise ClipError(f"`offsets` of `{path}` {text}", "bad_pack")
    if offsets[-1] != len(data):
        text = f"end at {offsets[-1]}, but `data` has {len(data)} frames"
        raise ClipError(f"`offsets` of `{path}` {text}", "bad_pack")
    return data, offsets.astype(np.int64)


def _body_joints(x: NDArray[Any], key: str, path: Path, skeleton: Skeleton) -> NDArray[Any]:
    """The first joints of HybrIK's, (T, 22, 3) of (T, 29, 3) or (T, 29·3)."""
    if skeleton.name != "smpl_22":
        text = f"`{path}` holds `{key}`, joints of SMPL, but `source.skeleton` is {skeleton.name}"
        raise ClipError(text, "wrong_shape")
    joints = int(key.rpartition("_")[2])
    if x.ndim == 2 and x.shape[1] == joints * 3:
        x = x.reshape(len(x), joints, 3)
    if x.ndim != 3 or x.shape[1:] != (joints, 3):
        text = f"`{key}` of `{path}` is {x.shape}, not (frames, {joints}, 3)"
        raise ClipError(text, "wrong_shape")
    return x[:, : skeleton.num_points]


@contextmanager
def _arrays(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of a file by name, each read when it is asked for; that of an `.npy` is `array`.

    Raises:
        ClipError: reason `missing_file`, `pickled` or `unreadable`.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            yield {"array": found}
        else:
            with found:
                yield found
    except ClipError:
        raise
    except FileNotFoundError:
        raise ClipError(f"`{path}` does not exist", "missing_file") from None
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise ClipError(f"`{path}` {refusal(path)}", "pickled") from None
        raise ClipError(f"`{path}` cannot be read: {error}", "unreadable") from None
