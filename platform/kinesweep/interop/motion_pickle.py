"""Conversion of pickled motions into a table and an `.npz` for the source `skeletons`.

The formats are those of Motion2text and HybrIK (`motion_record`). Keys that are not converted are
reported with their counts, and all invalid records are reported in one error.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import ThirdCoordinate
from kinesweep.core.errors import InputError, SourceError
from kinesweep.core.pickle_policy import is_pickle
from kinesweep.interop.hybrik_output import HybrikJoints, select_hybrik_joints
from kinesweep.interop.motion_record import (
    UNREADABLE_RECORD_ERRORS,
    MotionRecord,
    convert_record,
    extract_records,
    find_unconverted_keys,
)
from kinesweep.interop.safe_unpickler import read_plain_values
from kinesweep.sources.skeletons.motion_file import PACK_SUFFIX

# Arrays of objects in these files are stored as pickles.
_NUMPY_SUFFIXES = (".npy", ".npz")
_MAX_SHOWN_ERRORS = 20
# Column of the table → field of the record; columns without any value are omitted.
_OPTIONAL_COLUMNS = (
    ("start", "start"),
    ("end", "end"),
    ("reference", "reference"),
    ("reference_start", "reference_start"),
    ("reference_end", "reference_end"),
    ("gloss", "kind"),
    ("document", "document"),
    ("camera_view", "camera_view"),
)


@dataclass(frozen=True)
class ConvertedMotions:
    """The result of converting pickled motions.

    Attributes:
        table: Path of the TSV.
        pack: Path of the `.npz`.
        clips: Number of motions, N.
        points: Number of points, J.
        left: Key that was omitted because it is not converted → number of records with this key.
        third: Value of `source.third` with which the motions are read.
    """

    table: Path
    pack: Path
    clips: int
    points: int
    left: dict[str, int]
    third: ThirdCoordinate


def is_motion_file(path: Path) -> bool:
    """Return whether a file has the suffix of a pickle or a NumPy file.

    `kinesweep convert` takes such a file for motions.
    """
    return is_pickle(path) or path.suffix.lower() in _NUMPY_SUFFIXES


def convert_pickled_motions(
    path: Path,
    table_path: Path,
    third: ThirdCoordinate | None = None,
    joints: HybrikJoints | None = None,
) -> ConvertedMotions:
    """Convert a file of pickled motions into a table and an `.npz` of the same name next to it.

    Existing files of these names are replaced.

    Args:
        path: A pickle, or an `.npy` or `.npz` with objects; no code in it is run.
        table_path: Path of the `.tsv` to write; the folder is created if it is missing.
        third: Meaning of the third value of a point; None if the format defines it. The `.npz`
            states it, so that a recipe that says otherwise is refused.
        joints: Array of HybrIK's output to convert, if a file holds several.

    Returns:
        Paths and counts of the result.

    Raises:
        InputError: If the table has another suffix, its `.npz` is the input file, or the input file
            cannot be read or lacks `joints`.
        SourceError: If the file contains anything but plain values, records are invalid, or
            `third` is needed.
    """
    pack_path = find_pack_path(table_path, path)
    raw_records = select_hybrik_joints(extract_records(read_plain_values(path), path), joints)
    unconverted_counts = Counter(
        key for raw_record in raw_records for key in find_unconverted_keys(raw_record)
    )
    records = _convert_records(raw_records, path, third)
    stated_third = write_motions(table_path, records, third=third)
    return ConvertedMotions(
        table_path,
        pack_path,
        len(records),
        records[0].x_TJC.shape[1],
        dict(unconverted_counts),
        stated_third or "z",
    )


def find_pack_path(table_path: Path, *input_paths: Path) -> Path:
    """Return the path of the `.npz` next to a table that is to be written.

    Raises:
        InputError: If the table has another suffix than `.tsv`, or its `.npz` is an input file.
    """
    pack_path = table_path.with_suffix(PACK_SUFFIX)
    if table_path.suffix != ".tsv":
        raise InputError(
            f"`{table_path}` must be a `.tsv`; its `{PACK_SUFFIX}` is written next to it"
        )
    if pack_path.absolute() in [path.absolute() for path in input_paths]:
        raise InputError(f"`{pack_path}` would overwrite the input; give the table another name")
    return pack_path


def write_motions(
    table_path: Path,
    records: Sequence[MotionRecord],
    reference_motions: Sequence[NDArray[np.float32]] = (),
    third: ThirdCoordinate | None = None,
) -> ThirdCoordinate | None:
    """Write a table and the `.npz` of its motions next to it.

    Args:
        table_path: Path of the `.tsv`; its folder is created if it is missing.
        records: At least one motion; each gets a row.
        reference_motions: Motions (T, J, C) that follow in the `.npz`. The records name them by
            their index there.
        third: Meaning of the third value of a point; None if the format defines it.

    Returns:
        Meaning of the third value that the `.npz` states; None if it states none.
    """
    table_path.parent.mkdir(parents=True, exist_ok=True)
    motions = [*(record.x_TJC for record in records), *reference_motions]
    # N + 1 offsets: motion i consists of the frames from offset i up to offset i + 1.
    offsets = np.cumsum([0, *map(len, motions)])
    data = np.concatenate(motions)
    stated_third = third if third is not None and data.shape[2] == 3 else None
    if stated_third == "none":
        data, stated_third = data[..., :2], None
    # A string array is no pickle, so the reader accepts it.
    statement: dict[str, Any] = {} if stated_third is None else {"third": np.array(stated_third)}
    np.savez_compressed(
        table_path.with_suffix(PACK_SUFFIX), data=data, offsets=offsets, **statement
    )
    table = _format_table(_make_names_unique(records))
    table_path.write_text(table, encoding="utf-8", newline="\n")
    return stated_third


def _convert_records(
    raw_records: Sequence[Any], path: Path, third: ThirdCoordinate | None
) -> list[MotionRecord]:
    """Convert all records of a file; one error lists all invalid ones.

    Args:
        raw_records: Records as read from the file.
        path: The file, for the error message.
        third: Meaning of the third value of a point, or None if it was not stated.

    Returns:
        At least one record, in the order of the file; all have the same points and coordinates.

    Raises:
        SourceError: If there is no record, a record is invalid, the numbers of points differ, or
            `third` is needed.
    """
    records: list[MotionRecord] = []
    errors: list[str] = []
    for index, raw_record in enumerate(raw_records):
        try:
            records.append(convert_record(raw_record, index))
        except UNREADABLE_RECORD_ERRORS as error:
            errors.append(f"  record {index}: {error}")
    # Records that are valid one by one may not fit together.
    share = f", of which {len(errors)} cannot be converted" if errors else ""
    # All motions share one array of the pack, so their points and coordinates must agree.
    shapes = sorted({record.x_TJC.shape[1:] for record in records})
    if len(shapes) > 1:
        errors.append(f"  records differ in their points and coordinates: {shapes}")
    if errors or not records:
        raise make_records_error(f"`{path}` has {len(raw_records)} records{share}", errors)
    unknown = [record for record in records if not record.has_known_third]
    if third is None and unknown:
        num_points = unknown[0].x_TJC.shape[1]
        raise SourceError(
            f"`{path}`: {len(unknown)} records, the first of them `{unknown[0].name}`, have"
            f" {num_points} points of three values, and their format does not define whether the"
            " third is a depth or a confidence; state it with `--third z`, `--third confidence` or"
            " `--third none`"
        )
    return records


def make_records_error(summary: str, errors: Sequence[str]) -> SourceError:
    """Create the error that lists the invalid records of a file, up to 20 of them.

    Args:
        summary: First line of the message.
        errors: One indented line for each error.
    """
    message_lines = [summary, *errors[:_MAX_SHOWN_ERRORS]]
    if len(errors) > _MAX_SHOWN_ERRORS:
        message_lines.append(f"  … and {len(errors) - _MAX_SHOWN_ERRORS} more")
    return SourceError("\n".join(message_lines))


def _make_names_unique(records: Sequence[MotionRecord]) -> list[tuple[str, MotionRecord]]:
    """Make the names of motions unique by appending `#2`, `#3` and so on to repeated ones.

    Args:
        records: Motions in the order of the file.

    Returns:
        Pairs of the unique name and the motion, in the same order.
    """
    # The first motion of a name keeps it unchanged; the second becomes `name#2`. Names of reference
    # motions count as used: a clip of such a name would be taken for the reference.
    name_counts = Counter({record.reference for record in records} - {""})
    # A numbered name must not be the name of another record either.
    names = {record.name for record in records}
    named_records = []
    for record in records:
        name_counts[record.name] += 1
        unique_name = record.name
        if name_counts[record.name] > 1:
            while (unique_name := f"{record.name}#{name_counts[record.name]}") in names:
                name_counts[record.name] += 1
        named_records.append((unique_name, record))
    return named_records


def _format_table(named_records: Sequence[tuple[str, MotionRecord]]) -> str:
    """Format motions as TSV text; optional columns that are empty for all motions are omitted.

    Args:
        named_records: Pairs of a unique name and a motion. The index of a pair is the index of the
            motion in the `.npz`.
    """
    # The reader requires a text column, even if no motion has a text.
    records = [record for _, record in named_records]
    max_texts = max(1, *(len(record.texts) for record in records))
    max_augmented = max(len(record.augmented_texts) for record in records)
    columns = ["id", "index", *(f"text{number}" for number in range(1, max_texts + 1))]
    columns += [f"augmented{number}" for number in range(1, max_augmented + 1)]
    rows = [
        [
            name,
            str(index),
            *_pad_texts(record.texts, max_texts),
            *_pad_texts(record.augmented_texts, max_augmented),
        ]
        for index, (name, record) in enumerate(named_records)
    ]
    for column, field in _OPTIONAL_COLUMNS:
        values = [getattr(record, field) for record in records]
        if any(values):
            columns.append(column)
            rows = [[*row, str(value)] for row, value in zip(rows, values, strict=True)]
    return "\n".join("\t".join(row) for row in [columns, *rows]) + "\n"


def _pad_texts(texts: Sequence[str], length: int) -> list[str]:
    """Append empty texts up to a number of texts."""
    return [*texts, *[""] * (length - len(texts))]
