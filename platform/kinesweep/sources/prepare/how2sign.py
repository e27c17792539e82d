"""Reader for How2Sign: one tab-separated `.csv` file per split, with times in seconds.

The files `*train.csv`, `*val.csv` and `*test.csv` have the columns VIDEO_ID, VIDEO_NAME,
SENTENCE_ID, SENTENCE_NAME, START, END (or START_REALIGNED, END_REALIGNED) and SENTENCE. A clip is
the whole file `{SENTENCE_NAME}.pose` or, if the clips were not cut, its span of
`{VIDEO_NAME}.pose`; both may be in a folder of the split. VIDEO_NAME ends in `-SIGNER-rgb_front`.
"""

import re
from pathlib import Path

from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.delimited_table import read_delimited_rows
from kinesweep.sources.prepare.file_search import find_split_file
from kinesweep.sources.prepare.split_annotations import SplitAnnotations
from kinesweep.sources.prepare.times import parse_seconds
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors

_SPLIT_NAMES = {"train": "train", "validation": "val", "test": "test"}
_REQUIRED_COLUMNS = ("VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "SENTENCE")
_SIGNER_PATTERN = re.compile(r"-(\d+)-rgb_front$")


def read_how2sign(folder: Path, split: str) -> SplitAnnotations:
    """Read the annotations of a split; there are none if no file matches the split.

    Raises:
        InputError: If several files match the split.
        SourceError: If the file is malformed; names every line.
    """
    result = SplitAnnotations()
    path = find_split_file(folder, split, ".csv")
    if path is None:
        return result
    rows, errors = read_delimited_rows(path, "\t", _REQUIRED_COLUMNS)
    columns, column_errors = _find_time_columns(rows, path.name)
    for line_number, row in rows if columns else []:
        location = f"{path.name}:{line_number}"
        try:
            start_ms, end_ms = (parse_seconds(row[column]) for column in columns)
            span_ms = start_ms, end_ms
        except ValueError as error:
            errors.append((location, f"the start or end time is invalid: {error}"))
            continue
        result.annotations.append(_build_annotation(row, span_ms, _SPLIT_NAMES[split], location))
    raise_table_errors([*column_errors, *errors])
    return result


def _find_time_columns(
    rows: list[tuple[int, dict[str, str]]], table: str
) -> tuple[list[str], list[TableError]]:
    """Return the names of the columns with start and end, or errors if the table lacks one.

    Args:
        rows: Line numbers and fields of the table.
        table: Name of the table for messages.
    """
    if not rows:
        return [], []
    columns, errors = [], []
    for bound in ("START", "END"):
        # A file has either the original or the realigned times.
        names = (f"{bound}_REALIGNED", bound)
        column = next((name for name in names if name in rows[0][1]), None)
        if column is None:
            errors.append((f"{table}:1", f"has no column `{bound}` or `{bound}_REALIGNED`"))
        else:
            columns.append(column)
    return ([], errors) if errors else (columns, [])


def _build_annotation(
    row: dict[str, str], span_ms: tuple[float, float], folder: str, location: str
) -> ClipAnnotation:
    """Build the annotation of a clip from its row.

    Args:
        row: Fields by column name.
        span_ms: Start and end of the clip in the video in milliseconds.
        folder: Folder of the split, in which pose files are also looked for.
        location: Location of the row.
    """
    clip_file, video_file = f"{row['SENTENCE_NAME']}.pose", f"{row['VIDEO_NAME']}.pose"
    signer = _SIGNER_PATTERN.search(row["VIDEO_NAME"])
    order = row["SENTENCE_ID"].rpartition("_")[2]
    return ClipAnnotation(
        id=row["SENTENCE_NAME"],
        candidate_files=(  # in the order of preference: clips that are already cut come first
            *(PoseFile(prefix + clip_file) for prefix in ("", f"{folder}/")),
            *(
                PoseFile(prefix + video_file, *span_ms, is_span=True)
                for prefix in ("", f"{folder}/")
            ),
        ),
        text=row["SENTENCE"],
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=row["VIDEO_ID"],
        order=int(order) if order.isdigit() else 0,
        signer=signer.group(1) if signer else "",
        language="en",
        row=location,
    )
