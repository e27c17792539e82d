"""The records of a file of pickled motions: their known forms, and their checks.

Motion2text stores coordinates (T, 66) or (T, 22, 3), several texts, a name and sometimes the number
of valid frames. The output of HybrIK is one record without texts. A record has passed all checks
when it is a `MotionRecord`.

Whether the third value of a point is a depth or a confidence is defined for the 22 and 24 joints of
SMPL only, which have depths. For all other points it must be stated.

Shapes: T frames, J points, C values of a point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import SourceError
from kinesweep.sources.skeletons.motion_file import HYBRIK_JOINTS

# Keys of each field in the known formats; the first one that a record has is used.
_MOTION_KEYS = ("coordinates", "keypoints", "features", *HYBRIK_JOINTS)
_TEXT_KEYS = ("labels", "captions", "texts")
_NAME_KEYS = ("video_name", "name", "id")
_LENGTH_KEYS = ("seq_len",)
_START_KEYS = ("start_frame", "start")
_END_KEYS = ("end_frame", "end")
_KIND_KEYS = ("motion_type",)
UNREADABLE_RECORD_ERRORS = (SourceError, ValueError, TypeError, IndexError, OverflowError)
"""Errors of values that are no record; NumPy raises the last four for what are no numbers."""
# Of HybrIK's 24 or 29 joints, the first 22 are SMPL's body; the others are dropped.
_NUM_SMPL_JOINTS = 22
# Joints of Motion2text and HumanML3D, and all of SMPL: three-dimensional by definition.
_NUM_XYZ_JOINTS = (22, 24)


@dataclass(frozen=True)
class MotionRecord:
    """One motion of the input file.

    Attributes:
        x_TJC: Values of the points, without padding.
        name: Name of the motion, not necessarily unique.
        texts: Descriptions of the motion.
        start: First frame of the segment.
        end: Frame after the last one of the segment; 0 for the end of the motion.
        kind: Type of the motion, such as a gloss; empty without one.
        has_known_third: Whether the format defines the third value of a point, as a depth, or
            there is none.
        augmented_texts: Further descriptions, which only training reads.
        document: Recording that the motion is a part of; empty if unknown.
        camera_view: Camera that recorded the motion; empty if unknown.
        reference: Name of the reference motion; empty without one.
        reference_start: First frame of the segment of the reference motion.
        reference_end: Frame after the last one of this segment; 0 for the end of the motion.
    """

    x_TJC: NDArray[np.float32]
    name: str
    texts: tuple[str, ...]
    start: int
    end: int
    kind: str
    has_known_third: bool
    augmented_texts: tuple[str, ...] = ()
    document: str = ""
    camera_view: str = ""
    reference: str = ""
    reference_start: int = 0
    reference_end: int = 0


def extract_records(content: Any, path: Path) -> list[Any]:
    """Extract the records of a file: a list, a mapping from names to records, or one record.

    Args:
        content: Plain values of the file.
        path: The file, for the error message.

    Returns:
        Records in the order of the file, which are not checked yet.

    Raises:
        SourceError: If the values have none of these forms.
    """
    if isinstance(content, list):
        return content
    if isinstance(content, Mapping) and any(key in content for key in _MOTION_KEYS):
        return [content]
    if isinstance(content, Mapping) and content:
        values = list(content.values())
        # An `.npz` with a single array, or a wrapper such as {"data": [...]}.
        if len(values) == 1 and isinstance(values[0], list | Mapping):
            return extract_records(values[0], path)
        # The key becomes the name of the motion, unless the record has its own `video_name`.
        if all(isinstance(value, Mapping) for value in values):
            return [{_NAME_KEYS[0]: name, **record} for name, record in content.items()]
    found = "an empty mapping" if content == {} else _describe_type(content)
    raise SourceError(
        f"`{path}` must contain a list of records, a mapping from names to records, or one record"
        f" with {' or '.join(f'`{key}`' for key in _MOTION_KEYS[:3])}, but contains {found}"
    )


def find_unconverted_keys(raw_record: Any) -> list[str]:
    """Find the keys of a record that are not converted; none if the record is no mapping."""
    if not isinstance(raw_record, Mapping):
        return []
    converted_keys = [
        _find_key(raw_record, keys)
        for keys in (
            _MOTION_KEYS,
            _TEXT_KEYS,
            _NAME_KEYS,
            _LENGTH_KEYS,
            _START_KEYS,
            _END_KEYS,
            _KIND_KEYS,
        )
    ]
    return [str(key) for key in raw_record if key not in converted_keys]


def convert_record(raw_record: Any, index: int) -> MotionRecord:
    """Check one record of the file and convert it.

    Args:
        raw_record: The record as read from the file.
        index: Index of the record, from which the name of a motion without a name is made.

    Raises:
        SourceError: If the record is invalid.
        ValueError: If its coordinates are not numbers; likewise the other
            `UNREADABLE_RECORD_ERRORS`.
    """
    if not isinstance(raw_record, Mapping):
        raise SourceError(f"must be a mapping, but is {_describe_type(raw_record)}")
    motion_key = _find_key(raw_record, _MOTION_KEYS)
    if motion_key is None:
        record_keys = ", ".join(map(str, raw_record))
        raise SourceError(f"has no {' or '.join(_MOTION_KEYS[:3])}; its keys are {record_keys}")
    x_TJC = _parse_joints(raw_record[motion_key], motion_key)
    length = parse_integer(raw_record, _LENGTH_KEYS, len(x_TJC))
    start = parse_integer(raw_record, _START_KEYS, 0)
    end = parse_integer(raw_record, _END_KEYS, 0)
    if not 0 < length <= len(x_TJC):
        raise SourceError(f"`seq_len` is {length}, but `{motion_key}` has {len(x_TJC)} frames")
    # An end of 0 stands for the end of the motion.
    if start < 0 or end < 0 or start >= (end or length):
        raise SourceError(f"has an invalid segment: it starts at frame {start} and ends at {end}")
    texts = parse_texts(raw_record, _TEXT_KEYS)
    name = parse_text(raw_record, _NAME_KEYS)
    kind = parse_text(raw_record, _KIND_KEYS)
    num_points, num_values = x_TJC.shape[1:]
    is_xyz = motion_key in HYBRIK_JOINTS or num_points in _NUM_XYZ_JOINTS
    # Frames after `length` are padding.
    return MotionRecord(
        x_TJC[:length],
        name or f"motion_{index}",
        texts,
        start,
        end,
        kind,
        has_known_third=is_xyz or num_values != 3,
    )


def _parse_joints(value: Any, key: str) -> NDArray[np.float32]:
    """Parse the coordinates of a record.

    Args:
        value: Coordinates (T, J, 3), (T, J, 2) or (T, J · 3).
        key: Key of the value in its record.

    Returns:
        Coordinates (T, J, C) as float32; only the 22 joints of SMPL's body if the key is HybrIK's.

    Raises:
        SourceError: If the value has another shape.
        ValueError: If the values are not numbers, or rows have different lengths.
    """
    x = np.asarray(value, np.float32)
    # Motion2text flattens the 22 points of a frame into 66 values.
    if x.ndim == 2 and x.shape[1] % 3 == 0:
        x = x.reshape(len(x), -1, 3)
    if x.ndim != 3 or x.shape[2] not in (2, 3) or 0 in x.shape:
        raise SourceError(
            f"`{key}` is {x.shape}, not (frames, points, 2 or 3) or (frames, points · 3)"
        )
    return x[:, :_NUM_SMPL_JOINTS] if key in HYBRIK_JOINTS else x


def parse_integer(raw_record: Mapping[str, Any], keys: Sequence[str], default: int) -> int:
    """Parse an integer of a record, which may be stored as an array with one element.

    Args:
        raw_record: The record.
        keys: Possible keys; the first one that the record has is used.
        default: Value to return if the record has none of the keys, or its value is None.

    Raises:
        SourceError: If the value is not a whole number, or has several elements.
    """
    key = _find_key(raw_record, keys)
    if key is None or raw_record[key] is None:
        return default
    value = _extract_single_value(raw_record[key])
    try:
        is_whole = value == int(value)
    except (TypeError, ValueError, OverflowError):  # texts, NaN and infinity
        is_whole = False
    if not is_whole:
        raise SourceError(f"`{key}` must be a whole number, but is {raw_record[key]!r:.60}")
    return int(value)


def parse_text(raw_record: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Parse a name or a number of a record as one line of text.

    Args:
        raw_record: The record.
        keys: Possible keys; the first one that the record has is used.

    Returns:
        The text; empty if the record has none of the keys, or its value is None.

    Raises:
        SourceError: If the value has several elements.
    """
    key = _find_key(raw_record, keys)
    if key is None or raw_record[key] is None:
        return ""
    value = _extract_single_value(raw_record[key])
    if isinstance(value, list | tuple | set | frozenset | Mapping | np.ndarray):
        raise SourceError(f"`{key}` must be one value, but is {raw_record[key]!r:.60}")
    return collapse_whitespace(value)


def parse_texts(raw_record: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    """Parse the texts of a record: a list, a tuple or an array of strings, or one string.

    Args:
        raw_record: The record.
        keys: Possible keys; the first one that the record has is used.

    Returns:
        Each text as one line; none if the record has none of the keys, or its value is None.

    Raises:
        SourceError: If the value is anything else. Sets and mappings state no order of texts.
    """
    key = _find_key(raw_record, keys)
    if key is None or raw_record[key] is None:
        return ()
    value = raw_record[key]
    texts = value.tolist() if isinstance(value, np.ndarray) else value
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list | tuple):
        raise SourceError(f"`{key}` must be a list of texts, but is {_describe_type(value)}")
    foreign_texts = [text for text in texts if not isinstance(text, str)]
    if foreign_texts:
        raise SourceError(
            f"`{key}` has texts that are not strings: {_describe_type(foreign_texts[0])}"
        )
    return tuple(map(collapse_whitespace, texts))


def _extract_single_value(value: Any) -> Any:
    """Return the element of an array of one element; any other value as it is."""
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _find_key(raw_record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first of several keys that a record has; None if it has none of them."""
    return next((key for key in keys if key in raw_record), None)


def collapse_whitespace(text: object) -> str:
    """Convert a value to text, with each run of whitespace replaced by one space.

    Tabs and line breaks would break the table.
    """
    return " ".join(str(text).split())


def _describe_type(value: object) -> str:
    """Describe a value by its type, for error messages."""
    return f"a value of type `{type(value).__name__}`"
