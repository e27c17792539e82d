"""Reader for the body of `.pose` files of version 0.0, in which each frame lists its own people.

Frames differ in size, so the whole body is read into memory. Shapes: T frames, P people, J points,
C coordinates.
"""

import os
import struct
from io import BufferedReader
from pathlib import Path

import numpy as np

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.sources.decoded_size import check_decoded_size
from kinesweep.sources.frame_range import resolve_frame_range
from kinesweep.sources.pose_format.pose_header import PoseHeader
from kinesweep.sources.pose_format.pose_validation import (
    PoseSelection,
    check_person,
    validate_fps,
)

_FLOAT_BYTES = 4
_BODY_00 = struct.Struct("<HH")  # fps, frames; the number of people is stored per frame
_PEOPLE = struct.Struct("<H")
_PERSON_ID_BYTES = 2


def read_body_v0(
    file: BufferedReader, path: Path, header: PoseHeader, offset: int, selection: PoseSelection
) -> PoseSequence:
    """Read one person over a span of a v0.0 file, in which each frame lists its own people.

    Frames without the selected person get zero points with confidence 0.

    Args:
        file: Open file.
        path: Path of the file, for error messages.
        header: Header of the file.
        offset: Offset of the body in bytes.
        selection: Span, person and, if it is replaced, frame rate.

    Raises:
        ClipError: With reason `not_a_pose_file`, `truncated`, `bad_fps`, `no_frames`,
            `span_beyond_file`, `empty_span`, `no_people` or `no_such_person`.
    """
    # v0.0 stores each component with its own width, so only equal widths form one array.
    if not header.has_equal_dims:
        raise ClipError(
            f"`{path}` is a v0.0 file whose components have different numbers of coordinates, which"
            " is not supported",
            "not_a_pose_file",
        )
    # A file of this version is read whole, because its frames differ in size.
    check_decoded_size(f"`{path}`", os.fstat(file.fileno()).st_size)
    file.seek(offset)
    content = file.read()
    width = header.num_dims + 1
    person_bytes = _PERSON_ID_BYTES + header.layout.num_points * width * _FLOAT_BYTES
    try:
        stated_fps, num_frames = _BODY_00.unpack_from(content)
        people_offsets, people_counts = _find_people(content, num_frames, person_bytes)
    except struct.error:
        raise ClipError(f"`{path}` is truncated: frames are missing", "truncated") from None
    fps = validate_fps(path, stated_fps, selection.fps)
    start_frame, end_frame = resolve_frame_range(path, selection.span, fps, num_frames)
    # The person may be missing in some frames, but must appear in at least one of the file.
    # `max` has an argument: `resolve_frame_range` rejects files without frames.
    person = selection.person
    check_person(path, person, max(people_counts))
    # W: the coordinates of a point, followed by its confidence.
    values_TJW = np.zeros((end_frame - start_frame, header.layout.num_points, width), np.float32)
    for t, (people_offset, num_people) in enumerate(
        zip(
            people_offsets[start_frame:end_frame], people_counts[start_frame:end_frame], strict=True
        )
    ):
        if person < num_people:
            values_offset = people_offset + person * person_bytes + _PERSON_ID_BYTES
            flat_values = np.frombuffer(content, "<f4", values_TJW[t].size, values_offset)
            values_TJW[t] = flat_values.reshape(values_TJW[t].shape)
    points_TPJC = np.ascontiguousarray(values_TJW[:, None, :, :-1])
    confidence_TPJ = np.ascontiguousarray(values_TJW[:, None, :, -1])
    return PoseSequence(
        points_TPJC,
        confidence_TPJ,
        fps,
        header.layout,
        has_whole_fps=selection.fps is None,
        num_people=max(people_counts[start_frame:end_frame]),
    )


def _find_people(content: bytes, num_frames: int, person_bytes: int) -> tuple[list[int], list[int]]:
    """Find the offset of the first person in bytes and the number of people of each frame.

    Args:
        content: Body of a v0.0 file.
        num_frames: Number of frames.
        person_bytes: Size of one person in a frame in bytes.

    Raises:
        struct.error: If the content ends too early.
    """
    people_offsets, people_counts = [], []
    offset = _BODY_00.size
    # Frames differ in size, so their offsets are known only by walking over all of them.
    for _ in range(num_frames):
        (num_people,) = _PEOPLE.unpack_from(content, offset)
        people_offsets.append(offset + _PEOPLE.size)
        people_counts.append(num_people)
        offset += _PEOPLE.size + num_people * person_bytes
    # Unpacking only notices a missing count, not that people of the last frame are cut off.
    if offset > len(content):
        raise struct.error
    return people_offsets, people_counts
