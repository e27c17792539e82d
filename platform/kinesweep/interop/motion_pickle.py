"""Conversion of pickled motions into a table and an `.npz` for the source `skeletons`.

Motion2text stores a list of records with coordinates (T, 66) or (T, 22, 3), several texts, a name
and sometimes the number of valid frames. The output of HybrIK is one record without texts. Keys
that are not converted are reported with their counts, and all invalid records are reported in one
error.

Shapes: T frames, J points, C coordinates, N motions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError, SourceError
from kinesweep.interop.safe_unpickler import read_plain_values
from kinesweep.sources.skeletons.motion_file import HYBRIK_JOINTS, PACK_SUFFIX

# Keys of each field in the known formats; the first one that a record has is used.
_MOTION_KEYS = ("coordinates", "keypoints", "features", *HYBRIK_JOINTS)
_TEXT_KEYS = ("labels", "captions", "texts")
_NAME_KEYS = ("video_name", "name", "id")
_LENGTH_KEYS = ("seq_len",)
_START_KEYS = ("start_frame", "start")
_END_KEYS = ("end_frame", "end")
_KIND_KEYS = ("motion_type",)
_MAX_SHOWN_ERRORS = 20
_NUM_SMPL_JOINTS = (
    22  # of HybrIK's 24 or 29 joints, the first 22 are SMPL's body; the rest is dropped
)


@dataclass(frozen=True)
class ConvertedMotions:
    """The result of converting pickled motions.

    Attributes:
        table: Path of the TSV.
        pack: Path of the `.npz`.
        clips: Number of motions, N.
        points: Number of points, J.
        left: Key that was not converted → number of records that have it.
    """

    table: Path
    pack: Path
    clips: int
    points: int
    left: dict[str, int]


@dataclass(frozen=True)
class _MotionRecord:
    """One motion with its name, texts, segment in frames, and type."""

    x_TJC: NDArray[np.float32]
    name: str
    texts: tuple[str, ...]
    start: int
    end: int
    kind: str


def convert_pickled_motions(path: Path, table: Path) -> ConvertedMotions:
    """Convert a file of pickled motions into a table and an `.npz` of the same name next to it.

    Args:
        path: A pickle, or an `.npy` or `.npz` with objects; no code in it is run.
        table: The `.tsv` to write.

    Returns:
        Paths and counts of the result.

    Raises:
        InputError: If the table has another suffix, or its `.npz` is the input file.
        SourceError: If the file contains anything but plain values, or records are invalid.
    """
    pack = table.with_suffix(PACK_SUFFIX)
    if table.suffix != ".tsv":
        raise InputError(f"`{table}` must be a `.tsv`; its `{PACK_SUFFIX}` is written next to it")
    if pack.absolute() == path.absolute():
        raise InputError(f"`{pack}` would overwrite the input; give the table another name")
    # Records are converted one by one, so that one error lists all invalid ones.
    raw_records = _extract_records(read_plain_values(path))
    unconverted = Counter(key for plain in raw_records for key in _find_unconverted_keys(plain))
    records: list[_MotionRecord] = []
    errors: list[str] = []
    for number, plain in enumerate(raw_records):
        try:
            records.append(_convert_record(plain, number))
        except (SourceError, ValueError, TypeError, IndexError) as error:
            errors.append(f"  record {number}: {error}")
    # All motions share one array of the pack, so their points and coordinates must agree.
    shapes = sorted({record.x_TJC.shape[1:] for record in records})
    if len(shapes) > 1:
        errors.append(f"  records differ in their points and coordinates: {shapes}")
    if errors or not records:
        more_line = [f"  … and {len(errors) - _MAX_SHOWN_ERRORS} more"] * (
            len(errors) > _MAX_SHOWN_ERRORS
        )
        heading = (
            f"`{path}` has {len(raw_records)} records, of which {len(errors)} cannot be converted"
        )
        raise SourceError("\n".join([heading, *errors[:_MAX_SHOWN_ERRORS], *more_line]))
    table.parent.mkdir(parents=True, exist_ok=True)
    # N + 1 offsets: motion i consists of the frames from offset i up to offset i + 1.
    offsets = np.cumsum([0, *(len(record.x_TJC) for record in records)])
    data = np.concatenate([record.x_TJC for record in records])
    np.savez_compressed(pack, data=data, offsets=offsets)
    table.write_text(_format_table(_make_names_unique(records)), encoding="utf-8", newline="\n")
    return ConvertedMotions(table, pack, len(records), shapes[0][0], dict(unconverted))


def _extract_records(content: Any) -> list[Any]:
    """Extract the records of a file: a list, a mapping from names to records, or one record.

    Args:
        content: Plain values of the file.

    Raises:
        SourceError: If the values have another form.
    """
    if isinstance(content, list):
        return content
    if isinstance(content, Mapping) and any(key in content for key in _MOTION_KEYS):
        return [content]
    if isinstance(content, Mapping) and content:
        values = list(content.values())
        # An `.npz` with a single array, or a wrapper such as {"data": [...]}.
        if len(values) == 1 and isinstance(values[0], list | Mapping):
            return _extract_records(values[0])
        # The key becomes the name of the motion, unless the record has its own `video_name`.
        if all(isinstance(one, Mapping) for one in values):
            return [{_NAME_KEYS[0]: name, **one} for name, one in content.items()]
    raise SourceError(f"expected a list of records, but found {_describe_type(content)}")


def _find_unconverted_keys(raw_record: Any) -> list[str]:
    """Return the keys of a record that are not converted."""
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


def _convert_record(raw_record: Any, number: int) -> _MotionRecord:
    """Convert one record of the file and check it.

    Args:
        raw_record: The record as read from the file.
        number: Index of the record, which names a motion without a name.

    Raises:
        SourceError: If the record is invalid.
    """
    if not isinstance(raw_record, Mapping):
        raise SourceError(f"must be a mapping, but is {_describe_type(raw_record)}")
    key = _find_key(raw_record, _MOTION_KEYS)
    if key is None:
        keys = ", ".join(map(str, raw_record))
        raise SourceError(f"has no {' or '.join(_MOTION_KEYS[:3])}; its keys are {keys}")
    x_TJC = _parse_joints(raw_record[key], key)
    length = _parse_integer(raw_record, _LENGTH_KEYS, len(x_TJC))
    start, end = (
        _parse_integer(raw_record, _START_KEYS, 0),
        _parse_integer(raw_record, _END_KEYS, 0),
    )
    if not 0 < length <= len(x_TJC):
        raise SourceError(f"`seq_len` is {length}, but `{key}` has {len(x_TJC)} frames")
    if start < 0 or end < 0 or start >= (end or length):  # an end of 0 means the whole motion
        raise SourceError(f"has an invalid segment: it starts at frame {start} and ends at {end}")
    # The empty key stands for "none of the keys", since no record has it.
    raw_texts = raw_record.get(_find_key(raw_record, _TEXT_KEYS) or "", [])
    texts = [raw_texts] if isinstance(raw_texts, str) else raw_texts
    if not all(isinstance(text, str) for text in texts):
        raise SourceError(f"has texts that are not strings: {_describe_type(raw_texts)}")
    name = raw_record.get(_find_key(raw_record, _NAME_KEYS) or "", f"motion_{number}")
    kind = raw_record.get(_find_key(raw_record, _KIND_KEYS) or "", "")
    # Frames after `length` are padding.
    return _MotionRecord(
        x_TJC[:length],
        _collapse_whitespace(name),
        tuple(map(_collapse_whitespace, texts)),
        start,
        end,
        _collapse_whitespace(kind),
    )


def _parse_joints(value: Any, key: str) -> NDArray[np.float32]:
    """Parse the coordinates of a record; return float32 (T, J, 3).

    Args:
        value: Coordinates (T, J, 3) or (T, J · 3).
        key: Key of the value in its record.

    Raises:
        SourceError: If the value has another shape.
    """
    x = np.asarray(value, np.float32)
    # Motion2text flattens the 22 points of a frame into 66 values.
    if x.ndim == 2 and x.shape[1] % 3 == 0:
        x = x.reshape(len(x), -1, 3)
    if x.ndim != 3 or x.shape[2] != 3 or 0 in x.shape:
        raise SourceError(f"`{key}` is {x.shape}, not (frames, points, 3) or (frames, points · 3)")
    return x[:, :_NUM_SMPL_JOINTS] if key in HYBRIK_JOINTS else x


def _parse_integer(raw_record: Mapping[str, Any], keys: Sequence[str], default: int) -> int:
    """Parse an integer of a record, which may be stored as an array with one element.

    Args:
        raw_record: The record.
        keys: Possible keys; the first one in the record is used.
        default: Value if the record has none of the keys.

    Raises:
        SourceError: If the value is not a whole number.
    """
    key = _find_key(raw_record, keys)
    if key is None or raw_record[key] is None:
        return default
    value = np.asarray(raw_record[key]).reshape(-1)
    if value.size != 1 or value[0] != int(value[0]):
        raise SourceError(f"`{key}` must be a whole number, but is {raw_record[key]!r:.60}")
    return int(value[0])


def _find_key(raw_record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Find the first of several keys that a record has; return None if it has none."""
    return next((key for key in keys if key in raw_record), None)


def _make_names_unique(records: Sequence[_MotionRecord]) -> list[tuple[str, _MotionRecord]]:
    """Make the names of records unique by appended numbers; return (name, record) pairs."""
    # The first motion of a name keeps it unchanged; the second becomes `name#2`.
    name_counts: Counter[str] = Counter()
    named_records = []
    for record in records:
        name_counts[record.name] += 1
        count = name_counts[record.name]
        named_records.append((record.name if count == 1 else f"{record.name}#{count}", record))
    return named_records


def _format_table(named_records: Sequence[tuple[str, _MotionRecord]]) -> str:
    """Format the records as TSV; optional columns that are empty for all records are omitted."""
    # The reader requires a text column, even if no motion has a text.
    max_texts = max(1, *(len(record.texts) for _, record in named_records))
    columns = ["id", "index", *(f"text{number}" for number in range(1, max_texts + 1))]
    rows = []
    for number, (name, record) in enumerate(named_records):
        texts = [*record.texts, *[""] * (max_texts - len(record.texts))]
        rows.append([name, str(number), *texts])
    for column, field in (("start", "start"), ("end", "end"), ("gloss", "kind")):
        values = [getattr(record, field) for _, record in named_records]
        if any(values):
            columns.append(column)
            rows = [[*row, str(value)] for row, value in zip(rows, values, strict=True)]
    return "\n".join("\t".join(row) for row in [columns, *rows]) + "\n"


def _collapse_whitespace(text: object) -> str:
    """Replace each run of whitespace by a space; tabs and line breaks would break the table."""
    return " ".join(str(text).split())


def _describe_type(value: object) -> str:
    """Describe a value by its type, for error messages."""
    return f"a value of type `{type(value).__name__}`"
