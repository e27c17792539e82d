"""Motions that another system pickled, as a table and an `.npz` that the source `skeletons` reads.

Motion2text keeps a list of records: coordinates (T, 66) or (T, 22, 3), several texts, a name, at
times how many frames count. HybrIK's output is one record without texts. Every key that is not
carried over is named with its count, every record that does not fit is an error, all at once.

Shapes: T frames, J points, N motions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError, SourceError
from kinesweep.foreign.plain_pickle import read_plain
from kinesweep.sources.motion_file import HYBRIK, PACK_SUFFIX

_MOTION = ("coordinates", "keypoints", "features", *HYBRIK)
_TEXTS = ("labels", "captions", "texts")
_NAME = ("video_name", "name", "id")
_LENGTH = ("seq_len",)
_START = ("start_frame", "start")
_END = ("end_frame", "end")
_KIND = ("motion_type",)
_MOST_SHOWN = 20
_SMPL = 22


@dataclass(frozen=True)
class ConvertedMotions:
    """What became of a file.

    Attributes:
        table: the TSV.
        pack: the `.npz`.
        clips: N.
        points: J.
        left: key of the records → how many had it; it was not carried over.
    """

    table: Path
    pack: Path
    clips: int
    points: int
    left: dict[str, int]


@dataclass(frozen=True)
class _Record:
    """One motion and what is said of it."""

    x_TJC: NDArray[np.float32]
    name: str
    texts: tuple[str, ...]
    start: int
    end: int
    kind: str


def convert_motions(path: Path, table: Path) -> ConvertedMotions:
    """Writes a table, and beside it the `.npz` of the same name.

    Args:
        path: a pickle, or an `.npy` or `.npz` with objects; nothing in it is run.
        table: a `.tsv`.

    Raises:
        InputError: the table has another suffix, or its `.npz` is the file itself.
        SourceError: the file asks for more than plain values, or records do not fit.
    """
    pack = table.with_suffix(PACK_SUFFIX)
    if table.suffix != ".tsv":
        raise InputError(f"`{table}` must be a `.tsv`; its `{PACK_SUFFIX}` is written beside it")
    if pack.absolute() == path.absolute():
        raise InputError(f"`{pack}` is what is converted; give the table another name")
    found = _records(read_plain(path))
    left = Counter(key for plain in found for key in _left(plain))
    records: list[_Record] = []
    faults: list[str] = []
    for number, plain in enumerate(found):
        try:
            records.append(_record(plain, number))
        except (SourceError, ValueError, TypeError, IndexError) as error:
            faults.append(f"  record {number}: {error}")
    shapes = sorted({record.x_TJC.shape[1:] for record in records})
    if len(shapes) > 1:
        faults.append(f"  records differ in their points and coordinates: {shapes}")
    if faults or not records:
        more = [f"  … and {len(faults) - _MOST_SHOWN} more"] * (len(faults) > _MOST_SHOWN)
        head = f"`{path}` holds {len(found)} records, of which {len(faults)} cannot be converted"
        raise SourceError("\n".join([head, *faults[:_MOST_SHOWN], *more]))
    table.parent.mkdir(parents=True, exist_ok=True)
    offsets = np.cumsum([0, *(len(record.x_TJC) for record in records)])
    data = np.concatenate([record.x_TJC for record in records])
    np.savez_compressed(pack, data=data, offsets=offsets)
    table.write_text(_table(_told_apart(records)), encoding="utf-8", newline="\n")
    return ConvertedMotions(table, pack, len(records), shapes[0][0], dict(left))


def _records(found: Any) -> list[Any]:
    """The records of a file: a list, a mapping of names to them, or a single one."""
    if isinstance(found, list):
        return found
    if isinstance(found, Mapping) and any(key in found for key in _MOTION):
        return [found]
    if isinstance(found, Mapping) and found:
        values = list(found.values())
        if len(values) == 1 and isinstance(values[0], list | Mapping):
            return _records(values[0])
        if all(isinstance(one, Mapping) for one in values):
            return [{_NAME[0]: name, **one} for name, one in found.items()]
    raise SourceError(f"a list of records is expected, but there is {_kind_of(found)}")


def _left(plain: Any) -> list[str]:
    """Keys of a record that are not carried over."""
    if not isinstance(plain, Mapping):
        return []
    taken = [_key(plain, keys) for keys in (_MOTION, _TEXTS, _NAME, _LENGTH, _START, _END, _KIND)]
    return [str(key) for key in plain if key not in taken]


def _record(plain: Any, number: int) -> _Record:
    """One record.

    Raises:
        SourceError: what is wrong with it.
    """
    if not isinstance(plain, Mapping):
        raise SourceError(f"must be a mapping, but is {_kind_of(plain)}")
    key = _key(plain, _MOTION)
    if key is None:
        keys = ", ".join(map(str, plain))
        raise SourceError(f"has no {' or '.join(_MOTION[:3])}; it has {keys}")
    x_TJC = _joints(plain[key], key)
    length = _number(plain, _LENGTH, len(x_TJC))
    start, end = _number(plain, _START, 0), _number(plain, _END, 0)
    if not 0 < length <= len(x_TJC):
        raise SourceError(f"`seq_len` is {length}, but `{key}` has {len(x_TJC)} frames")
    if start < 0 or end < 0 or start >= (end or length):
        raise SourceError(f"its segment starts at frame {start} and ends at {end}")
    said = plain.get(_key(plain, _TEXTS) or "", [])
    texts = [said] if isinstance(said, str) else said
    if not all(isinstance(text, str) for text in texts):
        raise SourceError(f"its texts are {_kind_of(said)}, not texts")
    name = plain.get(_key(plain, _NAME) or "", f"motion_{number}")
    kind = plain.get(_key(plain, _KIND) or "", "")
    return _Record(x_TJC[:length], _line(name), tuple(map(_line, texts)), start, end, _line(kind))


def _joints(value: Any, key: str) -> NDArray[np.float32]:
    """Coordinates as (T, J, 3).

    Raises:
        SourceError: they have another shape.
    """
    x = np.asarray(value, np.float32)
    if x.ndim == 2 and x.shape[1] % 3 == 0:
        x = x.reshape(len(x), -1, 3)
    if x.ndim != 3 or x.shape[2] != 3 or 0 in x.shape:
        raise SourceError(f"`{key}` is {x.shape}, not (frames, points, 3) or (frames, points · 3)")
    return x[:, :_SMPL] if key in HYBRIK else x


def _number(plain: Mapping[str, Any], keys: Sequence[str], default: int) -> int:
    """A whole number of a record; of tensors and arrays, that of their only element."""
    key = _key(plain, keys)
    if key is None or plain[key] is None:
        return default
    value = np.asarray(plain[key]).reshape(-1)
    if value.size != 1 or value[0] != int(value[0]):
        raise SourceError(f"`{key}` must be a whole number, but is {plain[key]!r:.60}")
    return int(value[0])


def _key(plain: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """The first of some keys that a record has."""
    return next((key for key in keys if key in plain), None)


def _told_apart(records: Sequence[_Record]) -> list[tuple[str, _Record]]:
    """Records with ids: their names, with a number behind those that come again."""
    seen: Counter[str] = Counter()
    named = []
    for record in records:
        seen[record.name] += 1
        again = seen[record.name]
        named.append((record.name if again == 1 else f"{record.name}#{again}", record))
    return named


def _table(named: Sequence[tuple[str, _Record]]) -> str:
    """The rows of a table, with the columns that some record fills."""
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
    """A text without tabs and breaks, which a table cannot hold."""
    return " ".join(str(text).split())


def _kind_of(value: object) -> str:
    return f"a {type(value).__name__}"
