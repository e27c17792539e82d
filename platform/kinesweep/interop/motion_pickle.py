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
from kinesweep.interop.safe_unpickler import read_plain
from kinesweep.sources.skeletons.motion_file import HYBRIK, PACK_SUFFIX

# Keys of each field in the known formats; the first one that a record has is used.
_MOTION = ("coordinates", "keypoints", "features", *HYBRIK)
_TEXTS = ("labels", "captions", "texts")
_NAME = ("video_name", "name", "id")
_LENGTH = ("seq_len",)
_START = ("start_frame", "start")
_END = ("end_frame", "end")
_KIND = ("motion_type",)
_MOST_SHOWN = 20
_SMPL = 22  # of HybrIK's 24 or 29 joints, the first 22 are SMPL's body; the rest is dropped


@dataclass(frozen=True)
class ConvertedMotions:
    """The result of a conversion.

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
class _Record:
    """One motion with its name, texts, segment in frames, and type."""

    x_TJC: NDArray[np.float32]
    name: str
    texts: tuple[str, ...]
    start: int
    end: int
    kind: str


def convert_motions(path: Path, table: Path) -> ConvertedMotions:
    """Convert a file of motions into a table and an `.npz` with the same name next to it.

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
    found = _records(read_plain(path))
    left = Counter(key for plain in found for key in _left(plain))
    records: list[_Record] = []
    faults: list[str] = []
    for number, plain in enumerate(found):
        try:
            records.append(_record(plain, number))
        except (SourceError, ValueError, TypeError, IndexError) as error:
            faults.append(f"  record {number}: {error}")
    # All motions share one array of the pack, so their points and coordinates must agree.
    shapes = sorted({record.x_TJC.shape[1:] for record in records})
    if len(shapes) > 1:
        faults.append(f"  records differ in their points and coordinates: {shapes}")
    if faults or not records:
        more = [f"  … and {len(faults) - _MOST_SHOWN} more"] * (len(faults) > _MOST_SHOWN)
        head = f"`{path}` has {len(found)} records, of which {len(faults)} cannot be converted"
        raise SourceError("\n".join([head, *faults[:_MOST_SHOWN], *more]))
    table.parent.mkdir(parents=True, exist_ok=True)
    # N + 1 offsets: motion i consists of the frames from offset i up to offset i + 1.
    offsets = np.cumsum([0, *(len(record.x_TJC) for record in records)])
    data = np.concatenate([record.x_TJC for record in records])
    np.savez_compressed(pack, data=data, offsets=offsets)
    table.write_text(_table(_told_apart(records)), encoding="utf-8", newline="\n")
    return ConvertedMotions(table, pack, len(records), shapes[0][0], dict(left))


def _records(found: Any) -> list[Any]:
    """Return the records of a file: a list, a mapping from names to records, or a single record.

    Args:
        found: Plain values of the file.

    Raises:
        SourceError: If the values have another form.
    """
    if isinstance(found, list):
        return found
    if isinstance(found, Mapping) and any(key in found for key in _MOTION):
        return [found]
    if isinstance(found, Mapping) and found:
        values = list(found.values())
        # An `.npz` with a single array, or a wrapper such as {"data": [...]}.
        if len(values) == 1 and isinstance(values[0], list | Mapping):
            return _records(values[0])
        # The key becomes the name of the motion, unless the record has its own `video_name`.
        if all(isinstance(one, Mapping) for one in values):
            return [{_NAME[0]: name, **one} for name, one in found.items()]
    raise SourceError(f"expected a list of records, but found {_kind_of(found)}")


def _left(plain: Any) -> list[str]:
    """Return the keys of a record that are not converted."""
    if not isinstance(plain, Mapping):
        return []
    taken = [_key(plain, keys) for keys in (_MOTION, _TEXTS, _NAME, _LENGTH, _START, _END, _KIND)]
    return [str(key) for key in plain if key not in taken]


def _record(plain: Any, number: int) -> _Record:
    """Convert one record.

    Args:
        plain: The record as read from the file.
        number: Index of the record, which names a motion without a name.

    Raises:
        SourceError: If the record is invalid.
    """
    if not isinstance(plain, Mapping):
        raise SourceError(f"must be a mapping, but is {_kind_of(plain)}")
    key = _key(plain, _MOTION)
    if key is None:
        keys = ", ".join(map(str, plain))
        raise SourceError(f"has no {' or '.join(_MOTION[:3])}; its keys are {keys}")
    x_TJC = _joints(plain[key], key)
    length = _number(plain, _LENGTH, len(x_TJC))
    start, end = _number(plain, _START, 0), _number(plain, _END, 0)
    if not 0 < length <= len(x_TJC):
        raise SourceError(f"`seq_len` is {length}, but `{key}` has {len(x_TJC)} frames")
    if start < 0 or end < 0 or start >= (end or length):  # an end of 0 means the whole motion
        raise SourceError(f"has an invalid segment: it starts at frame {start} and ends at {end}")
    # The empty key stands for "none of the keys", since no record has it.
    said = plain.get(_key(plain, _TEXTS) or "", [])
    texts = [said] if isinstance(said, str) else said
    if not all(isinstance(text, str) for text in texts):
        raise SourceError(f"has texts that are not strings: {_kind_of(said)}")
    name = plain.get(_key(plain, _NAME) or "", f"motion_{number}")
    kind = plain.get(_key(plain, _KIND) or "", "")
    # Frames after `length` are padding.
    return _Record(x_TJC[:length], _line(name), tuple(map(_line, texts)), start, end, _line(kind))


def _joints(value: Any, key: str) -> NDArray[np.float32]:
    """Return coordinates as float32 (T, J, 3).

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
    return x[:, :_SMPL] if key in HYBRIK else x


def _number(plain: Mapping[str, Any], keys: Sequence[str], default: int) -> int:
    """Return an integer of a record, which may be stored as an array with one element.

    Args:
        plain: The record.
        keys: Possible keys; the first one in the record is used.
        default: Value if the record has none of the keys.

    Raises:
        SourceError: If the value is not a whole number.
    """
    key = _key(plain, keys)
    if key is None or plain[key] is None:
        return default
    value = np.asarray(plain[key]).reshape(-1)
    if value.size != 1 or value[0] != int(value[0]):
        raise SourceError(f"`{key}` must be a whole number, but is {plain[key]!r:.60}")
    return int(value[0])


def _key(plain: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first of several keys that a record has, or None."""
    return next((key for key in keys if key in plain), None)


def _told_apart(records: Sequence[_Record]) -> list[tuple[str, _Record]]:
    """Return pairs of a unique id and a record; a repeated name gets a number appended."""
    # The first motion of a name keeps it unchanged; the second becomes `name#2`.
    seen: Counter[str] = Counter()
    named = []
    for record in records:
        seen[record.name] += 1
        again = seen[record.name]
        named.append((record.name if again == 1 else f"{record.name}#{again}", record))
    return named


def _table(named: Sequence[tuple[str, _Record]]) -> str:
    """Return the text of the table; optional columns that are empty for all records are omitted."""
    # The reader requires a text column, even if no motion has a text.
    most = max(1, *(len(record.texts) for _, record in named))
    columns = ["id", "index", *(f"text{number}" for number in range(1, most + 1))]
    rows = []
    for number, (name, record) in enumerate(named):
        texts = [*record.texts, *[""] * (most - len(record.texts))]
        rows.append([name, str(number), *texts])
    for column, field in (("start", "start"), ("end", "end"), ("gloss", "kind")):
        values = [getattr(record, field) for _, record in named]
        if any(values):
            columns.append(column)
            rows = [[*row, str(value)] for row, value in zip(rows, values, strict=True)]
    return "\n".join("\t".join(row) for row in [columns, *rows]) + "\n"


def _line(text: object) -> str:
    """Replace tabs and line breaks, which would break the table, by spaces."""
    return " ".join(str(text).split())


def _kind_of(value: object) -> str:
    """Describe a value by its type, for error messages."""
    return f"a value of type `{type(value).__name__}`"
