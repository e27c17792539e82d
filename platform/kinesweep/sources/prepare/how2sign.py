"""How2Sign: tab-separated `.csv` files, one a split, times in seconds.

`*train.csv`, `*val.csv`, `*test.csv` with the columns VIDEO_ID, VIDEO_NAME, SENTENCE_ID,
SENTENCE_NAME, START, END (or START_REALIGNED, END_REALIGNED) and SENTENCE. A clip is
`{SENTENCE_NAME}.pose`, whole, or where clips were not cut its span of `{VIDEO_NAME}.pose`; both may
lie in a folder of the split. VIDEO_NAME ends in `-SIGNER-rgb_front`.
"""

import re
from pathlib import Path

from kinesweep.sources.prepare.rows import Annotation, PoseFile, find_file, rows_of
from kinesweep.sources.table import raise_faults

_FILES = {"train": "train", "validation": "val", "test": "test"}
_NEEDED = ("VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "SENTENCE")
_SIGNER = re.compile(r"-(\d+)-rgb_front$")


def read_how2sign(folder: Path, split: str) -> list[Annotation]:
    """Annotations of a split.

    Raises:
        InputError: several files of the split.
        SourceError: malformed; with every line.
    """
    path = find_file(folder, f"*{_FILES[split]}.csv")
    if path is None:
        return []
    rows, faults = rows_of(path, "\t", _NEEDED)
    found = []
    for number, row in rows:
        try:
            found.append(_annotation(row, _FILES[split]))
        except (ValueError, KeyError) as error:
            faults.append((f"{path.name}:{number}", f"{error} is no time or is missing"))
    raise_faults(faults)
    return found


def _annotation(row: dict[str, str], folder: str) -> Annotation:
    start, end = (
        1000 * float(row[f"{name}_REALIGNED"] if f"{name}_REALIGNED" in row else row[name])
        for name in ("START", "END")
    )
    cut, whole = f"{row['SENTENCE_NAME']}.pose", f"{row['VIDEO_NAME']}.pose"
    signer = _SIGNER.search(row["VIDEO_NAME"])
    order = row["SENTENCE_ID"].rpartition("_")[2]
    return Annotation(
        id=row["SENTENCE_NAME"],
        files=(
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
