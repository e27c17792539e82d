"""A skeleton over time out of a file of NumPy's, or a `.pose`; nothing is ever unpickled.

Coordinates of a motion come out, float32 (T, J, C), checked against the skeleton: its J, 2 or 3
coordinates, numbers all of them. An `.npz` holds one array, or what HybrIK makes of a video; one
with many motions is a pack (`motion_pack`). A `.pose` names its own points.

Shapes: T frames, P people, J points, C coordinates.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.pickles import PICKLES, refusal
from kinesweep.core.pose import PoseSequence
from kinesweep.core.skeleton import Skeleton
from kinesweep.core.units import Span
from kinesweep.sources.pose_faults import frames_of
from kinesweep.sources.pose_file import read_pose
from kinesweep.sources.pose_rows import POSE_SUFFIX

PACK_SUFFIX = ".npz"
MOTION_SUFFIXES = (".npy", PACK_SUFFIX, POSE_SUFFIX)
HYBRIK = {"pred_xyz_29": 29, "pred_xyz_24": 24, "pred_xyz_24_struct": 24}
"""What HybrIK calls its joints, and how many they are; the first 24 are SMPL's, of these 22 the
body's."""
_COORDINATES = (2, 3)
_PICKLE = b"\x80"
"""How pickles begin, of all but the oldest protocols."""
_FILL = "fill what was not found, or give `.pose` files, which say so"


def read_alone(path: Path, span: Span, skeleton: Skeleton, fps: float) -> PoseSequence:
    """The frames of a file that holds one motion.

    Args:
        path: `.npy`, `.npz` or `.pose`.
        span: which frames.
        skeleton: points of an array.
        fps: frames a second of an array.

    Raises:
        ClipError: as `read_pose`, `read_motion` and `sequence_of`.
    """
    if path.suffix.lower() == POSE_SUFFIX:
        return read_pose(path, span)
    return sequence_of(read_motion(path, skeleton), path, span, skeleton, fps)


def sequence_of(
    x: NDArray[Any], path: Path, span: Span, skeleton: Skeleton, fps: float
) -> PoseSequence:
    """The frames of a stored motion, all points found.

    Raises:
        ClipError: as `joints_of`, or reason `no_frames`, `span_beyond_file`, `empty_span` or
            `nan_frames`; the message names the file.
    """
    x_TJC = joints_of(x, skeleton, path)
    first, last = frames_of(path, span, fps, len(x_TJC))
    with np.errstate(all="ignore"):  # what float32 cannot hold is refused below
        x_TPJC = np.ascontiguousarray(x_TJC[first:last, None], np.float32)
    num_bad = int((~np.isfinite(x_TPJC)).any(axis=(1, 2, 3)).sum())
    if num_bad:
        text = f"in {num_bad} of {len(x_TPJC)} frames; {_FILL}"
        raise ClipError(f"`{path}` has coordinates that are not numbers {text}", "nan_frames")
    return PoseSequence(x_TPJC, np.ones(x_TPJC.shape[:3], np.float32), fps, skeleton.layout)


def read_motion(path: Path, skeleton: Skeleton) -> NDArray[Any]:
    """The one motion of an `.npy` or `.npz`, as it is stored; of HybrIK's joints the body's.

    Raises:
        ClipError: reason `missing_file`, `unreadable`, `pickled`, `which_motion` (an `.npz` of
            several arrays) or `wrong_shape`; the message names the file.
    """
    with arrays_of(path) as found:
        for key in HYBRIK:
            if key in found:
                return _body_joints(np.asarray(found[key]), key, path, skeleton)
        names = list(found)
        if len(names) == 1:
            return np.asarray(found[names[0]])  # of a file that is no array: bytes
    held = ", ".join(f"`{name}`" for name in names) or "nothing"
    raise ClipError(
        f"`{path}` holds {held}; a motion is the only array, or `{next(iter(HYBRIK))}`; of a pack"
        f" with `data` and `offsets` name one by its number: `{path.name}#0`",
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
    base = os.path.join(root, file)  # `Path.is_file` raises where a name is too long
    there = [s for s in (*MOTION_SUFFIXES, *PICKLES) if os.path.isfile(base + s)]
    motions = [suffix for suffix in there if suffix in MOTION_SUFFIXES]
    if len(motions) > 1:
        text = f"`{file}` may be {' or '.join(motions)}; name one by a column `motion`"
        raise ClipError(text, "ambiguous_file")
    if there and not motions:
        path = root / (file + there[0])
        raise ClipError(f"`{path}` {refusal(path)}", "pickled")
    return file + motions[0] if motions else file


def _body_joints(x: NDArray[Any], key: str, path: Path, skeleton: Skeleton) -> NDArray[Any]:
    """The first joints of HybrIK's: of (T, 29, 3) or (T, 29·3) the skeleton's 22 or 24."""
    if skeleton.layout.components[0][0] != "SMPL":
        text = f"`{path}` holds `{key}`, joints of SMPL, but `source.skeleton` is {skeleton.name}"
        raise ClipError(text, "wrong_shape")
    joints = HYBRIK[key]
    if x.ndim == 2 and x.shape[1] == joints * 3:
        x = x.reshape(len(x), joints, 3)
    if x.ndim != 3 or x.shape[1:] != (joints, 3):
        text = f"`{key}` of `{path}` is {x.shape}, not (frames, {joints}, 3)"
        raise ClipError(text, "wrong_shape")
    return x[:, : skeleton.num_points]


@contextmanager
def arrays_of(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
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
    except Exception as error:  # damaged bytes make NumPy and its libraries fail in many ways
        if "allow_pickle" not in str(error):
            raise ClipError(f"`{path}` cannot be read: {error}", "unreadable") from None
        with path.open("rb") as file:
            begins = file.read(20)
        if "Object arrays" in str(error) or begins.startswith(_PICKLE):
            raise ClipError(f"`{path}` {refusal(path)}", "pickled") from None
        text = f"is no file of NumPy's: it begins with {begins!r}"
        raise ClipError(f"`{path}` {text}", "unreadable") from None
