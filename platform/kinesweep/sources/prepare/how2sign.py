"""Reader for How2Sign: one tab-separated `.csv` file per split, with times in seconds.

The files `*train.csv`, `*val.csv` and `*test.csv` have the columns VIDEO_ID, VIDEO_NAME,
SENTENCE_ID, SENTENCE_NAME, START, END (or START_REALIGNED, END_REALIGNED) and SENTENCE. A clip is
the whole file `{SENTENCE_NAME}.pose` or, if the clips were not cut, its span of
`{VIDEO_NAME}.pose`; both may be in a folder of the split. VIDEO_NAME ends in `-SIGNER-rgb_front`.
"""

import re
from pathlib import Path

from kinesweep.sources.prepare.rows import Annotation, PoseFile, find_single_file, rows_of
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_FILES = {"train": "train", "validation": "val", "test": "test"}
_NEEDED = ("VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "SENTENCE")
_SIGNER = re.compile(r"-(\d+)-rgb_front$")


def read_how2sign(folder: Path, split: str) -> list[Annotation]:
    """Read the annotations of a split.

    Raises:
        InputError: If several files match the split.
        SourceError: If the file is malformed; names every line.
    """
    path = find_single_file(folder, f"*{_FILES[split]}.csv")
    if path is None:
        return []
    rows, faults = rows_of(path, "\t", _NEEDED)
    found = []
    for number, row in rows:
        try:
            found.append(_annotation(row, _FILES[split]))
        except (ValueError, KeyError) as error:
            faults.append(
                (f"{path.name}:{number}", f"the start or end time is invalid or missing: {error}")
            )
    raise_table_errors(faults)
    return found


def _annotation(row: dict[str, str], folder: str) -> Annotation:
    """Convert a row.

    Raises:
        ValueError: If a time is not a number.
        KeyError: If a column of times is missing.
    """
    # A file has either the original or the realigned times.
    start, end = (
        1000 * float(row[f"{name}_REALIGNED"] if f"{name}_REALIGNED" in row else row[name])
        for name in ("START", "END")
    )
    cut, whole = f"{row['SENTENCE_NAME']}.pose", f"{row['VIDEO_NAME']}.pose"
    signer = _SIGNER.search(row["VIDEO_NAME"])
    order = row["SENTENCE_ID"].rpartition("_")[2]
    return Annotation(
        id=row["SENTENCE_NAME"],
        files=(  # in the order of preference: clips that are already cut come first
            *(PoseFile(place + cut) for place in ("", f"{folder}/")),
            *(PoseFile(place + whole, start, end) for place in ("", f"{folder}/")),
        ),
        text=row["SENTENCE"],
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=row["VIDEO_ID"],
        order=int(order) if order.isdigit() else 0,
        signer=signer.group(1) if signer else "",
        language="en",
    )
