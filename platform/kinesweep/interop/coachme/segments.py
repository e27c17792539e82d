"""The settings of CoachMe's data: which records belong to one, and which frames they select.

A setting selects the same number of frames from a clip and from the standard motion of its type:
`gt` those that an annotator marked, `error` those that a model found, `aligned` those that an
alignment covers. The setting `none` uses whole clips. The rules are those of CoachMe's data loader,
which slices as Python does: frames beyond the end of a motion are left out without an error, and a
negative start counts from the end.

Shapes: T frames, J points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import SourceError
from kinesweep.interop.motion_record import parse_integer

Setting = Literal["gt", "error", "aligned", "none"]
SEGMENT_SETTINGS: tuple[Setting, ...] = ("gt", "error", "aligned")
"""Settings that select frames."""
SKATING_TYPES = ("Single_Axel", "Double_Axel", "Loop", "Lutz", "Axel", "Axel_com")
"""Motion types of figure skating; the last two are names of earlier versions of the data."""
SEGMENT_KEYS = frozenset(
    f"{setting}_{field}"
    for setting in SEGMENT_SETTINGS
    for field in ("start_frame", "end_frame", "std_start_frame", "std_end_frame", "seq_len")
)
"""Keys of the segments of all settings."""
LENGTH_KEY = "original_seq_len"


@dataclass(frozen=True)
class Segment:
    """The frames that a setting selects from a clip and from its standard motion.

    Attributes:
        start: First frame of the clip, as stored; negative values count from the end.
        standard_start: First frame of the standard motion, likewise.
        length: Number of frames of both.
        has_other_end: Whether a stored end differs from start plus length.
    """

    start: int
    standard_start: int
    length: int
    has_other_end: bool


def is_in_setting(raw_record: Mapping[str, Any], setting: Setting) -> bool:
    """Return whether CoachMe reads a record in a setting.

    Skating has one record for each instruction, named `VIDEO_0`, `VIDEO_1` …, for the setting `gt`,
    and one for each whole video, named without an underscore, for all others. Boxing has only one
    kind of record.
    """
    if raw_record.get("motion_type") not in SKATING_TYPES:
        return True
    is_instruction = "_" in str(raw_record.get("video_name", ""))
    return is_instruction == (setting == "gt")


def parse_segment(raw_record: Mapping[str, Any], setting: Setting) -> Segment | None:
    """Parse the segment of a record in a setting; return None if the record has none.

    Raises:
        SourceError: If the record has a part of the keys only, or a value is not a whole number.
        ValueError: If a value is not a number; likewise `TypeError`.
    """
    keys = [f"{setting}_{name}" for name in ("start_frame", "std_start_frame", "seq_len")]
    missing_keys = [key for key in keys if raw_record.get(key) is None]
    # All keys missing is a record of another setting; some missing is a damaged one.
    if len(missing_keys) == len(keys):
        return None
    if missing_keys:
        raise SourceError(f"has no {', '.join(f'`{key}`' for key in missing_keys)}")
    start, standard_start, length = (parse_integer(raw_record, [key], 0) for key in keys)
    # CoachMe reads starts and lengths only, so the ends are compared but not used.
    has_other_end = any(
        parse_integer(raw_record, [f"{setting}_{name}_frame"], first + length) != first + length
        for name, first in (("end", start), ("std_end", standard_start))
    )
    return Segment(start, standard_start, length, has_other_end)


def slice_frames(start: int, length: int, num_frames: int) -> tuple[int, int]:
    """Return the first frame and the frame after the last one of `frames[start : start + length]`.

    Both are between 0 and the number of frames; an empty slice ends where it starts.
    """
    # Python's own rules, so that the frames are those that CoachMe's slices select.
    first, last, _ = slice(start, start + length).indices(num_frames)
    return first, max(first, last)


def remove_padding(
    x_TJC: NDArray[np.float32], raw_record: Mapping[str, Any]
) -> tuple[NDArray[np.float32], bool]:
    """Remove the frames after `original_seq_len` if all of them are zero.

    Args:
        x_TJC: Coordinates of the record.
        raw_record: The record. A missing length, or one of 0 or less, states nothing.

    Returns:
        The coordinates without padding, and whether the stated length differs from their number of
        frames. It does where motions were estimated again; their frames count then, as in CoachMe.

    Raises:
        SourceError: If the length is not a whole number.
        ValueError: If the length is not a number; likewise `TypeError`.
    """
    length = parse_integer(raw_record, [LENGTH_KEY], 0)
    # Only zeros are padding; other frames are a part of the motion, whatever the length says.
    if 0 < length < len(x_TJC) and not x_TJC[length:].any():
        x_TJC = x_TJC[:length]
    return x_TJC, 0 < length != len(x_TJC)
