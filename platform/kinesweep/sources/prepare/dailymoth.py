"""Reader for DailyMoth-70h: one manifest per split, `train.tsv`, `val.tsv` and `test.tsv`.

A row is `video_name, duration, caption`, separated by tabs, with or without a header; SSVP-SLT's
manifests of other corpora have the same form. The clips are cut already: `0000004-2022.6.14.mp4` is
the fourth one, of the video of that day, and lies in the folder `00000` of the blurred or the
unblurred clips. Both sets have the same manifests.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from kinesweep.core.video_files import is_video_file
from kinesweep.sources.prepare.clip_annotation import MIN_CLIP_MS, ClipAnnotation, PoseFile
from kinesweep.sources.prepare.file_search import find_split_file
from kinesweep.sources.prepare.split_annotations import DroppedRow, SplitAnnotations
from kinesweep.sources.prepare.times import parse_seconds
from kinesweep.sources.tsv.tsv_reader import Table, TableError, raise_table_errors, read_table

_COLUMNS = ("video_name", "duration", "caption")
_MANIFESTS_DIR = "manifests"
_PREFIX_LENGTH = 5
"""Number of the first characters of a name that are the name of its folder."""
_NAME_PATTERN = re.compile(r"(\d+)-(.+)", re.ASCII)
"""Number of a clip in the corpus, and name of the video that it was cut from."""


def read_dailymoth(folder: Path, split: str) -> SplitAnnotations:
    """Read the annotations of a split; there are none if no file matches the split.

    Args:
        folder: Folder of the manifests, or the folder of the corpus that contains it.
        split: Name of the split.

    Raises:
        InputError: If several files match the split.
        SourceError: If the file is malformed; names every line.
    """
    manifests = folder / _MANIFESTS_DIR
    # A person may name the corpus or the folder of its manifests.
    path = find_split_file(manifests if manifests.is_dir() else folder, split, ".tsv")
    if path is None:
        return SplitAnnotations()
    table = read_table(path, path.name, _assume_columns)
    header_errors = _find_header_errors(table)
    errors = [*table.errors, *header_errors]
    result = SplitAnnotations()
    # Without its columns, every row would add errors that hide the cause.
    for row in table.rows if not header_errors else ():
        location = f"{path.name}:{row.line_number}"
        values = dict(zip(table.header, row.fields, strict=True))
        try:
            duration_ms = parse_seconds(values["duration"])
        except ValueError as error:
            errors.append((location, f"`duration` must be a number of seconds: {error}"))
            continue
        if not values["video_name"].strip():
            errors.append((location, "`video_name` is empty"))
        elif duration_ms < MIN_CLIP_MS:
            result.dropped.append(DroppedRow(location, "too_short"))
        else:
            result.annotations.append(_build_annotation(values, location))
    raise_table_errors(errors)
    return result


def _assume_columns(fields: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a manifest without a header, or nothing if its first line is one."""
    return () if fields[0] == _COLUMNS[0] else _COLUMNS


def _find_header_errors(table: Table) -> list[TableError]:
    """Return an error for each column that the manifest lacks."""
    missing = [column for column in _COLUMNS if table.header and column not in table.header]
    return [(f"{table.name}:1", f"has no column `{column}`") for column in missing]


def _build_annotation(values: dict[str, str], location: str) -> ClipAnnotation:
    """Build the annotation of a clip from its row.

    Args:
        values: Fields by column name.
        location: Location of the row.
    """
    name = values["video_name"].strip()
    # Manifests name the videos, with their suffix or without it.
    stem = name.removesuffix(PurePosixPath(name).suffix) if is_video_file(name) else name
    # Names of other corpora with this form have no number; their clips have no document.
    match = _NAME_PATTERN.fullmatch(stem)
    folder = name[:_PREFIX_LENGTH]
    return ClipAnnotation(
        id=stem,
        candidate_files=(
            PoseFile(f"{folder}/{stem}.pose"),
            # The archives contain the folder `videos`; a person may give the one above it.
            PoseFile(f"videos/{folder}/{stem}.pose"),
            PoseFile(f"{stem}.pose"),
        ),
        text=values["caption"],
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=match[2] if match else "",
        order=int(match[1]) if match else 0,
        language="en",
        row=location,
    )
