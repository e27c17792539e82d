"""Reader for skeleton motions in NumPy, `.pose` or `.bvh` files; nothing is ever unpickled.

The coordinates of a motion are returned as float32 (T, J, C) and checked against the skeleton: J
points, 2 or 3 coordinates, all finite. An `.npz` holds a single array or the output of HybrIK for
one video; an `.npz` with many motions is a pack (see `npz_pack`). `.pose` and `.bvh` files name
their own points.

Shapes: T frames, P people, J points, C coordinates.
"""

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.pickle_policy import PICKLE_SUFFIXES, format_pickle_error
from kinesweep.core.skeleton.keypoints import SMPL_24
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.core.units import Span
from kinesweep.sources.decoded_size import check_decoded_size
from kinesweep.sources.frame_range import resolve_frame_range
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.skeletons.array_meaning import ArrayMeaning, split_third_value
from kinesweep.sources.skeletons.bvh_file import BVH_SUFFIX, read_bvh
from kinesweep.sources.tsv.media_names import POSE_SUFFIX

PACK_SUFFIX = ".npz"
MOTION_SUFFIXES = (".npy", PACK_SUFFIX, POSE_SUFFIX, BVH_SUFFIX)
HYBRIK_JOINTS = {"pred_xyz_29": 29, "pred_xyz_24": 24, "pred_xyz_24_struct": 24}
"""HybrIK's array names → number of joints. The first 24 joints are those of SMPL, and the first 22
of them those of the body."""
_NUM_COORDINATES = (2, 3)
_PICKLE_FIRST_BYTE = b"\x80"
"""First byte of a pickle, for all but the oldest protocols."""
_FILL_ADVICE = (
    "fill in the missing points, or mark them: with confidence 0 (`source.third: confidence`), or"
    " in `.pose` files"
)


def read_single_motion(path: Path, span: Span, meaning: ArrayMeaning) -> PoseSequence:
    """Read a span of the motion in a file that contains only one motion.

    Args:
        path: Path of an `.npy`, `.npz`, `.pose` or `.bvh` file.
        span: Frames to read.
        meaning: Meaning of an array; `.pose` and `.bvh` files state their own.

    Raises:
        ClipError: With the reasons of `read_pose` or `read_bvh` for such a file, or else of
            `read_motion_array` and `build_pose_sequence`. The message names the file.
    """
    if path.suffix.lower() == POSE_SUFFIX:
        return read_pose(path, span, meaning.person)
    if path.suffix.lower() == BVH_SUFFIX:
        return read_bvh(path, span)
    return build_pose_sequence(read_motion_array(path, meaning.skeleton), path, span, meaning)


def build_pose_sequence(
    x: NDArray[Any], path: Path, span: Span, meaning: ArrayMeaning
) -> PoseSequence:
    """Build the pose sequence of a span of a stored motion.

    Every point gets confidence 1 if the array holds no confidences.

    Args:
        x: Stored array, (T, J, C) or (T, J·C).
        path: Path of the file, for error messages.
        span: Frames to keep.
        meaning: Skeleton, frame rate and meaning of the third value.

    Raises:
        ClipError: With reason `wrong_dtype`, `wrong_shape`, `no_frames`, `span_beyond_file`,
            `empty_span`, `nan_frames`, `no_confidence` or `bad_confidence`. The message names the
            file.
    """
    x_TJC = reshape_to_joints(x, meaning.skeleton, path)
    # The span is cut before the conversion, so only its frames are copied.
    start_frame, end_frame = resolve_frame_range(path, span, meaning.fps, len(x_TJC))
    with np.errstate(all="ignore"):  # values beyond float32 become infinite and are refused below
        x_TPJC = np.ascontiguousarray(x_TJC[start_frame:end_frame, None], np.float32)
    x_TPJC, confidence_TPJ = split_third_value(x_TPJC, meaning.third, path)
    # Coordinates of points that were not found may be anything.
    is_invalid_TPJ = ~np.isfinite(x_TPJC).all(axis=3) & (confidence_TPJ > 0)
    num_invalid_frames = int(is_invalid_TPJ.any(axis=(1, 2)).sum())
    if num_invalid_frames:
        text = f"in {num_invalid_frames} of {len(x_TPJC)} frames; {_FILL_ADVICE}"
        raise ClipError(f"`{path}` has coordinates that are not numbers {text}", "nan_frames")
    return PoseSequence(
        x_TPJC,
        confidence_TPJ,
        meaning.fps,
        meaning.skeleton.layout,
        has_confidence=meaning.third == "confidence",
    )


def read_motion_array(path: Path, skeleton: Skeleton) -> NDArray[Any]:
    """Read the only motion of an `.npy` or `.npz` in its stored type and shape.

    From the output of HybrIK, only the joints of the skeleton are returned, (T, J, C).

    Raises:
        ClipError: With reason `missing_file`, `unreadable`, `pickled`, `which_motion` (an `.npz`
            with several arrays) or `wrong_shape`. The message names the file.
    """
    with open_arrays(path) as arrays:
        # HybrIK's output has many arrays, so its joints are looked for before arrays are counted.
        for key in HYBRIK_JOINTS:
            if key in arrays:
                return _select_body_joints(np.asarray(arrays[key]), key, path, skeleton)
        names = list(arrays)
        if len(names) == 1:
            # NumPy returns other members than arrays as bytes; `reshape_to_joints` rejects them.
            return np.asarray(arrays[names[0]])
    array_names = ", ".join(f"`{name}`" for name in names) or "nothing"
    raise ClipError(
        f"`{path}` holds {array_names}; it must hold a single array or"
        f" `{next(iter(HYBRIK_JOINTS))}`; to select a"
        f" motion of a pack with `data` and `offsets`, append its number: `{path.name}#0`",
        "which_motion",
    )


def reshape_to_joints(x: NDArray[Any], skeleton: Skeleton, path: Path) -> NDArray[Any]:
    """Return a stored motion reshaped to (T, J, C), after checking its type and shape.

    Args:
        x: Stored array, (T, J, C) or (T, J·C), with 2 or 3 coordinates.
        skeleton: Skeleton of the points.
        path: Path of the file, for error messages.

    Raises:
        ClipError: With reason `wrong_dtype` or `wrong_shape`.
    """
    if x.dtype.kind != "f":
        raise ClipError(f"`{path}` holds {x.dtype}, not floating point numbers", "wrong_dtype")
    num_points = skeleton.num_points
    # The number of columns of a flat array shows whether its points have 2 or 3 coordinates.
    if x.ndim == 2 and x.shape[1] in [num_points * num_dims for num_dims in _NUM_COORDINATES]:
        x = x.reshape(len(x), num_points, -1)
    if x.ndim != 3 or x.shape[1] != num_points or x.shape[2] not in _NUM_COORDINATES:
        raise ClipError(
            f"`{path}` holds an array of shape {x.shape}; a motion of `{skeleton.name}` must be"
            f" (frames, {num_points}, 2 or 3), or the same flattened to two dimensions; see"
            " `source.skeleton`",
            "wrong_shape",
        )
    return x


def add_motion_suffix(root: Path, file: str) -> str:
    """Return the name of a motion file with the suffix of the file that exists below a folder.

    Names that come from the id of a row have no suffix. A name is returned unchanged if it has the
    suffix of a motion file or if no file matches.

    Args:
        root: Folder that contains the file.
        file: Name of the file, with or without its suffix.

    Raises:
        ClipError: With reason `pickled`, or `ambiguous_file` if several files match.
    """
    if PurePosixPath(file).suffix.lower() in MOTION_SUFFIXES:
        return file
    base_path = os.path.join(root, file)  # `Path.is_file` raises where a name is too long
    existing_suffixes = [
        suffix
        for suffix in (*MOTION_SUFFIXES, *PICKLE_SUFFIXES)
        if os.path.isfile(base_path + suffix)
    ]
    motion_suffixes = [suffix for suffix in existing_suffixes if suffix in MOTION_SUFFIXES]
    if len(motion_suffixes) > 1:
        text = (
            f"`{file}` may be {' or '.join(motion_suffixes)}; name one of them in a column `motion`"
        )
        raise ClipError(text, "ambiguous_file")
    if existing_suffixes and not motion_suffixes:
        path = root / (file + existing_suffixes[0])
        raise ClipError(f"`{path}` {format_pickle_error(path)}", "pickled")
    return file + motion_suffixes[0] if motion_suffixes else file


def _select_body_joints(x: NDArray[Any], key: str, path: Path, skeleton: Skeleton) -> NDArray[Any]:
    """Select the joints of an SMPL skeleton from an array of HybrIK's output; return (T, J, 3).

    Args:
        x: Stored array with K = 24 or 29 joints, (T, K, 3) or (T, K·3).
        key: Name of the array in the file.
        path: Path of the file, for error messages.
        skeleton: Skeleton whose J joints are selected.

    Raises:
        ClipError: With reason `wrong_shape`, also if the skeleton is not that of SMPL.
    """
    # Compared by all names, because a declared skeleton may be called `smpl` and have other points.
    if skeleton.layout.point_names != SMPL_24[: skeleton.num_points]:
        text = f"`{path}` holds SMPL joints (`{key}`), but `source.skeleton` is {skeleton.name}"
        raise ClipError(text, "wrong_shape")
    num_joints = HYBRIK_JOINTS[key]
    if x.ndim == 2 and x.shape[1] == num_joints * 3:
        x = x.reshape(len(x), num_joints, 3)
    if x.ndim != 3 or x.shape[1:] != (num_joints, 3):
        text = f"`{key}` of `{path}` has the shape {x.shape}; it must be (frames, {num_joints}, 3)"
        raise ClipError(text, "wrong_shape")
    return x[:, : skeleton.num_points]


@contextmanager
def open_arrays(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Open a NumPy file, and yield its arrays by name; the array of an `.npy` is named `array`.

    The arrays of an `.npz` are read on access, so read errors also arise in the body of the `with`
    statement and are converted here.

    Raises:
        ClipError: With reason `missing_file`, `pickled`, `too_large` or `unreadable`.
    """
    try:
        check_decoded_size(f"`{path}`", _compute_array_bytes(path))
        arrays = np.load(path, allow_pickle=False)
        # `np.load` returns the array of an `.npy` itself, but an archive to close for an `.npz`.
        if isinstance(arrays, np.ndarray):
            yield {"array": arrays}
        else:
            with arrays:
                yield arrays
    # Raised by the body of the `with` statement; the last handler would replace its reason.
    except ClipError:
        raise
    except FileNotFoundError:
        raise ClipError(f"`{path}` does not exist", "missing_file") from None
    except Exception as error:  # damaged bytes raise many kinds of exceptions in NumPy
        # NumPy suggests `allow_pickle` for pickles, but also for any file that it does not know.
        if "allow_pickle" not in str(error):
            raise ClipError(f"`{path}` cannot be read: {error}", "unreadable") from None
        with path.open("rb") as file:
            first_bytes = file.read(20)
        if "Object arrays" in str(error) or first_bytes.startswith(_PICKLE_FIRST_BYTE):
            raise ClipError(f"`{path}` {format_pickle_error(path)}", "pickled") from None
        text = f"is not a NumPy file: it begins with {first_bytes!r}"
        raise ClipError(f"`{path}` {text}", "unreadable") from None


def _compute_array_bytes(path: Path) -> int:
    """Compute the size of the arrays of a NumPy file in memory, from its headers.

    Raises:
        OSError: If the file cannot be read.
        zipfile.BadZipFile: If the archive is damaged.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            # NumPy reads an `.npy` straight into the array that its header declares.
            return max(os.fstat(file.fileno()).st_size, _read_declared_bytes(file))
        with zipfile.ZipFile(file) as archive:
            num_bytes = 0
            for member in archive.infolist():
                with archive.open(member) as member_file:
                    num_bytes += max(member.file_size, _read_declared_bytes(member_file))
            return num_bytes


def _read_declared_bytes(file: IO[bytes]) -> int:
    """Read the size in bytes of the array that an open `.npy` declares; 0 if it is none."""
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 in the encoding of field names only, which no motion has.
        is_first = version == (1, 0)
        read_header = (
            np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(file)
    except ValueError:  # not a NumPy array; `np.load` reports what it is
        return 0
    return math.prod(shape) * dtype.itemsize
