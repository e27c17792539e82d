"""Reader for OpenASL: one `openasl*.tsv` with all splits.

The columns are `vid` (the clip), `yid` (the video), `start` and `end` in the video (`00:01:02.345`
or seconds), `raw-text` and `split` (train, valid, test). A clip is the whole file `{vid}.pose`, or
its span of `{yid}.pose`.
"""

from pathlib import Path

from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.delimited_table import read_delimited_rows
from kinesweep.sources.prepare.file_search import find_single_file
from kinesweep.sources.prepare.split_annotations import SplitAnnotations
from kinesweep.sources.prepare.times import parse_milliseconds
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_SPLIT_NAMES = {"train": "train", "validation": "valid", "test": "test"}
_REQUIRED_COLUMNS = ("vid", "yid", "start", "end", "raw-text", "split")


def read_openasl(folder: Path, split: str) -> SplitAnnotations:
    """Read the annotations of a split; there are none if no table exists.

    Raises:
        InputError: If several tables exist.
        SourceError: If the file is malformed; names every line.
    """
    path = find_single_file(folder, "openasl*.tsv")
    if path is None:
        return SplitAnnotations()
    rows, errors = read_delimited_rows(path, "\t", _REQUIRED_COLUMNS)
    result = SplitAnnotations()
    order_by_video: dict[str, int] = {}
    for line_number, row in rows:
        if row["split"] not in _SPLIT_NAMES.values():
            errors.append(
                (
                    f"{path.name}:{line_number}",
                    f"`split` must be train, valid or test, but is `{row['split']}`",
                )
            )
        elif row["split"] == _SPLIT_NAMES[split]:
            # The file has no order column, so the clips of a video are numbered by their rows.
            order = order_by_video[row["yid"]] = order_by_video.get(row["yid"], -1) + 1
            try:
                result.annotations.append(
                    _build_annotation(row, order, f"{path.name}:{line_number}")
                )
            except ValueError as error:
                errors.append((f"{path.name}:{line_number}", str(error)))
    raise_table_errors(errors)
    return result


def _build_annotation(row: dict[str, str], order: int, location: str) -> ClipAnnotation:
    """Build the annotation of a clip from its row.

    Args:
        row: Fields by column name.
        order: Position of the clip in its video.
        location: Location of the row.

    Raises:
        ValueError: If a time is malformed.
    """
    start_ms, end_ms = parse_milliseconds(row["start"]), parse_milliseconds(row["end"])
    return ClipAnnotation(
        id=row["vid"],
        candidate_files=(
            PoseFile(f"{row['vid']}.pose"),
            PoseFile(f"{row['yid']}.pose", start_ms, end_ms, is_span=True),
        ),
        text=row["raw-text"],
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=row["yid"],
        order=order,
        language="en",
        row=location,
    )
