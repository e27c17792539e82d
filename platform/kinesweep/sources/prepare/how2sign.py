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
from kinesweep.sources.prepare.file_search import find_single_file
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_SPLIT_NAMES = {"train": "train", "validation": "val", "test": "test"}
_REQUIRED_COLUMNS = ("VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "SENTENCE")
_SIGNER_PATTERN = re.compile(r"-(\d+)-rgb_front$")


def read_how2sign(folder: Path, split: str) -> list[ClipAnnotation]:
    """Read the annotations of a split; there are none if no file matches the split.

    Raises:
        InputError: If several files match the split.
        SourceError: If the file is malformed; names every line.
    """
    path = find_single_file(folder, f"*{_SPLIT_NAMES[split]}.csv")
    if path is None:
        return []
    rows, errors = read_delimited_rows(path, "\t", _REQUIRED_COLUMNS)
    annotations = []
    for line_number, row in rows:
        try:
            annotations.append(_build_annotation(row, _SPLIT_NAMES[split]))
        except (ValueError, KeyError) as error:
            errors.append(
                (
                    f"{path.name}:{line_number}",
                    f"the start or end time is invalid or missing: {error}",
                )
            )
    raise_table_errors(errors)
    return annotations


def _build_annotation(row: dict[str, str], folder: str) -> ClipAnnotation:
    """Build the annotation of a clip from its row.

    Args:
        row: Fields by column name.
        folder: Folder of the split, in which pose files are also looked for.

    Raises:
        ValueError: If a time is not a number.
        KeyError: If a column of times is missing.
    """
    # A file has either the original or the realigned times.
    start_ms, end_ms = (
        1000 * float(row[f"{name}_REALIGNED"] if f"{name}_REALIGNED" in row else row[name])
        for name in ("START", "END")
    )
    clip_file, video_file = f"{row['SENTENCE_NAME']}.pose", f"{row['VIDEO_NAME']}.pose"
    signer = _SIGNER_PATTERN.search(row["VIDEO_NAME"])
    order = row["SENTENCE_ID"].rpartition("_")[2]
    return ClipAnnotation(
        id=row["SENTENCE_NAME"],
        candidate_files=(  # in the order of preference: clips that are already cut come first
            *(PoseFile(prefix + clip_file) for prefix in ("", f"{folder}/")),
            *(PoseFile(prefix + video_file, start_ms, end_ms) for prefix in ("", f"{folder}/")),
        ),
        text=row["SENTENCE"],
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=row["VIDEO_ID"],
        order=int(order) if order.isdigit() else 0,
        signer=signer.group(1) if signer else "",
        language="en",
    )
