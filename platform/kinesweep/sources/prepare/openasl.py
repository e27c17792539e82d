"""Reader for OpenASL: one `openasl*.tsv` with all splits.

The columns are `vid` (the clip), `yid` (the video), `start` and `end` in the video (`00:01:02.345`
or seconds), `raw-text` and `split` (train, valid, test). A clip is the whole file `{vid}.pose`, or
its span of `{yid}.pose`.
"""

from pathlib import Path

from kinesweep.sources.prepare.rows import Annotation, PoseFile, find_single_file, rows_of
from kinesweep.sources.prepare.times import milliseconds
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_NEEDED = ("vid", "yid", "start", "end", "raw-text", "split")


def read_openasl(folder: Path, split: str) -> list[Annotation]:
    """Read the annotations of a split.

    Raises:
        InputError: If several files match.
        SourceError: If the file is malformed; names every line.
    """
    path = find_single_file(folder, "openasl*.tsv")
    if path is None:
        return []
    rows, faults = rows_of(path, "\t", _NEEDED)
    found: list[Annotation] = []
    orders: dict[str, int] = {}
    for number, row in rows:
        if row["split"] not in _SPLITS.values():
            faults.append(
                (
                    f"{path.name}:{number}",
                    f"`split` must be train, valid or test, but is `{row['split']}`",
                )
            )
        elif row["split"] == _SPLITS[split]:
            # The file has no order column, so the clips of a video are numbered by their rows.
            order = orders[row["yid"]] = orders.get(row["yid"], -1) + 1
            try:
                found.append(_annotation(row, order))
            except ValueError as error:
                faults.append((f"{path.name}:{number}", str(error)))
    raise_table_errors(faults)
    return found


def _annotation(row: dict[str, str], order: int) -> Annotation:
    """Convert a row.

    Raises:
        ValueError: If a time is malformed.
    """
    start, end = milliseconds(row["start"]), milliseconds(row["end"])
    return Annotation(
        id=row["vid"],
        files=(PoseFile(f"{row['vid']}.pose"), PoseFile(f"{row['yid']}.pose", start, end)),
        text=row["raw-text"],
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=row["yid"],
        order=order,
        language="en",
    )
