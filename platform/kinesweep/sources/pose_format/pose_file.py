"""Reader for `.pose` files (v0.0, v0.1, v0.2): one span of one person as a `PoseSequence`.

The reader loads only the header and the frames of the span, so a clip in an hour of video costs as
much as a clip in its own file. It copies the data instead of mapping it, because a file that
shrinks while it is mapped kills the process. It compares the sizes with the file before allocating
memory, so a damaged file raises a `ClipError` with a reason instead of giving a wrong shape:
pose-format infers the length of v0.1 files from their size and reads a truncated file as a shorter
clip. Drawing and writing are not supported.

Shapes: T frames, P people, J points, C coordinates.
"""

import math
import os
import stat
import struct
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.units import Span
from kinesweep.sources.decoded_size import check_decoded_size
from kinesweep.sources.frame_range import resolve_frame_range
from kinesweep.sources.pose_format.pose_body_v0 import read_body_v0
from kinesweep.sources.pose_format.pose_header import (
    HeaderCutOffError,
    NotAPoseFileError,
    PoseHeader,
    parse_frame_size,
    parse_header,
)
from kinesweep.sources.pose_format.pose_validation import (
    PoseSelection,
    check_finite,
    check_person,
    validate_fps,
)

HEADER_CHUNK_BYTES = 1 << 16
"""Size of the first read. MediaPipe's header has 15 KB, or 41 KB with all lines of the face."""

_FLOAT_BYTES = 4
_BODY_01 = struct.Struct("<HHH")  # fps, frames modulo 65536, people
_BODY_02 = struct.Struct("<fIH")  # fps, frames, people


@dataclass(frozen=True)
class _BodyInfo:
    """The properties of the body of a file, whose data are points and then confidences.

    Attributes:
        fps: Frame rate in frames per second as the file states it, not checked.
        num_frames: Number of frames T.
        num_people: Number of people P.
        offset: Offset of the points (T, P, J, C) in bytes; the confidences (T, P, J) follow them.
    """

    fps: float
    num_frames: int
    num_people: int
    offset: int


def read_pose(
    path: Path, span: Span = Span(), person: int = 0, fps: float | None = None
) -> PoseSequence:
    """Read the points and confidences of one person over a span of a `.pose` file.

    Args:
        path: Path of a `.pose` file.
        span: Part of the file to read; `Span.to_frame_range` defines the rounding.
        person: Index of the person, from 0.
        fps: Frame rate in frames per second that replaces the one that the file states; spans in
            milliseconds follow it.

    Returns:
        A sequence with P = 1. Its coordinates are finite wherever the confidence is not 0.

    Raises:
        ClipError: With reason `missing_file`, `not_a_file`, `unreadable`, `empty_file`,
            `not_a_pose_file`, `truncated`, `wrong_length`, `bad_fps`, `no_frames`, `no_people`,
            `no_such_person`, `span_beyond_file`, `empty_span` or `nan_frames`. The message names
            the file.
    """
    try:
        # Checked before opening: opening a pipe would block until somebody writes to it.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ClipError(f"`{path}` is not a file", "not_a_file")
        with path.open("rb") as file:
            sequence = _read_sequence(file, path, PoseSelection(span, person, fps))
            file.seek(0)
            frame_size = parse_frame_size(file.read(HEADER_CHUNK_BYTES))
    except FileNotFoundError:
        raise ClipError(f"`{path}` does not exist", "missing_file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        # `ClipError` is itself a `ValueError`.
        if isinstance(error, ClipError):
            raise
        raise ClipError(f"`{path}` cannot be read: {error}", "unreadable") from None
    check_finite(sequence, path)
    return replace(sequence, frame_size=frame_size)


def read_frame_size(path: Path) -> tuple[int, int]:
    """Return the width and height of the video frames that a `.pose` file declares.

    They have the unit of the file's points, usually pixels.

    Raises:
        ClipError: With reason `unreadable`, `truncated`, `not_a_pose_file` or `no_picture_size`.
            The message names the file.
    """
    try:
        with path.open("rb") as file:
            _read_header(file, path)
            file.seek(0)
            width, height = parse_frame_size(file.read(HEADER_CHUNK_BYTES))
    except OSError as error:
        raise ClipError(f"`{path}` cannot be read: {error.strerror}", "unreadable") from None
    if not width or not height:
        raise ClipError(
            f"`{path}` declares a frame size of {width} × {height}, so its points cannot be located"
            " in the video; estimate the poses again",
            "no_picture_size",
        )
    return width, height


def _read_sequence(file: BufferedReader, path: Path, selection: PoseSelection) -> PoseSequence:
    """Read the points and confidences of one person over a span of an open file of any version.

    Args:
        file: File, open at its beginning.
        path: Path of the file, for error messages.
        selection: Span, person and, if it is replaced, frame rate.

    Raises:
        ClipError: With a reason of `read_pose`.
        OSError: If the file cannot be read.
    """
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise ClipError(f"`{path}` is empty", "empty_file")
    version, header, offset = _read_header(file, path)
    if version == 0.0:
        return read_body_v0(file, path, header, offset, selection)
    body = _read_body_info(file, path, version, header, offset, size)
    # Not checked before: a rate that is replaced may be any number, even NaN.
    fps = validate_fps(path, body.fps, selection.fps)
    start_frame, end_frame = resolve_frame_range(path, selection.span, fps, body.num_frames)
    check_person(path, selection.person, body.num_people)
    num_points, num_dims = header.layout.num_points, header.num_dims
    channel_bytes = body.num_people * num_points * _FLOAT_BYTES  # bytes of one number per point
    # People are interleaved in each frame: all of them are read, and one is kept.
    shape = (end_frame - start_frame, body.num_people, num_points)
    check_decoded_size(f"`{path}`", math.prod(shape) * (num_dims + 1) * _FLOAT_BYTES)
    points_TPJC = _read_array(
        file, path, body.offset + start_frame * channel_bytes * num_dims, (*shape, num_dims)
    )
    confidence_offset = body.offset + body.num_frames * channel_bytes * num_dims
    confidence_TPJ = _read_array(file, path, confidence_offset + start_frame * channel_bytes, shape)
    selected_people = slice(selection.person, selection.person + 1)
    return PoseSequence(
        points_TPJC[:, selected_people],
        confidence_TPJ[:, selected_people],
        fps,
        header.layout,
        has_whole_fps=version == 0.1 and selection.fps is None,
        # Files may have room for more people than were ever found.
        num_people=int((confidence_TPJ > 0).any((0, 2)).sum()) if body.num_people > 1 else 1,
    )


def _read_header(file: BufferedReader, path: Path) -> tuple[float, PoseHeader, int]:
    """Read the version, the header and the offset of the body in bytes from an open file.

    Args:
        file: File, open at its beginning.
        path: Path of the file, for error messages.

    Raises:
        ClipError: With reason `not_a_pose_file` or `truncated`.
    """
    head = b""
    # The format does not state the header's length, so more is read until it can be parsed.
    while chunk := file.read(HEADER_CHUNK_BYTES):
        head += chunk
        try:
            return parse_header(head)
        except HeaderCutOffError:
            continue
        except NotAPoseFileError as error:
            raise ClipError(f"`{path}` is not a `.pose` file: {error}", "not_a_pose_file") from None
    raise ClipError(
        f"`{path}` is truncated: it ends within its header, after {len(head)} bytes", "truncated"
    )


def _read_body_info(
    file: BufferedReader, path: Path, version: float, header: PoseHeader, offset: int, size: int
) -> _BodyInfo:
    """Read the properties of the body of a v0.1 or v0.2 file, and check them against its size.

    Args:
        file: Open file.
        path: Path of the file, for error messages.
        version: Version of the format.
        header: Header of the file.
        offset: Offset of the body in bytes.
        size: Size of the file in bytes.

    Raises:
        ClipError: With reason `truncated`, `no_people` or `wrong_length`.
    """
    body_struct = _BODY_01 if version == 0.1 else _BODY_02
    file.seek(offset)
    body_start = file.read(body_struct.size)
    if len(body_start) < body_struct.size:
        raise ClipError(f"`{path}` is truncated: it ends after its header", "truncated")
    fps, num_declared_frames, num_people = body_struct.unpack(body_start)
    data_offset = offset + body_struct.size
    # One number more than coordinates per point: its confidence.
    frame_bytes = num_people * header.layout.num_points * (header.num_dims + 1) * _FLOAT_BYTES
    if frame_bytes == 0:
        raise ClipError(f"`{path}` holds no people", "no_people")
    data_bytes = size - data_offset
    num_frames = num_declared_frames
    if version == 0.1:
        # The field has 16 bits and counts modulo 65536: take the candidate nearest to the size.
        num_missing_frames = data_bytes / frame_bytes - num_declared_frames
        num_frames += max(0, round(num_missing_frames / 2**16)) * 2**16
    if num_frames * frame_bytes != data_bytes:
        raise ClipError(
            f"`{path}` is damaged: {num_frames} frames of {num_people} people need"
            f" {num_frames * frame_bytes} bytes after the header, but the file has {data_bytes};"
            " copy or estimate it again",
            "truncated" if data_bytes < num_frames * frame_bytes else "wrong_length",
        )
    return _BodyInfo(fps, num_frames, num_people, data_offset)


def _read_array(
    file: BufferedReader, path: Path, offset: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Read an array of little-endian float32 numbers at an offset in bytes.

    Raises:
        ClipError: With reason `truncated`, if the file ends too early.
    """
    array: NDArray[np.float32] = np.empty(shape, "<f4")
    file.seek(offset)
    if file.readinto(memoryview(array.data).cast("B")) != array.nbytes:
        # The size was checked before: another process truncated the file in the meantime.
        raise ClipError(f"`{path}` became shorter while it was read", "truncated")
    return array
