"""Reader for RWTH-PHOENIX-Weather 2014 T: `PHOENIX-2014-T.{train,dev,test}.corpus.csv`.

The fields are separated by bars. The columns are `name`, `speaker`, `orth` (the glosses) and
`translation`; `start` and `end` are -1 in the published files, because each clip is one file,
`{name}.pose`, optionally in a folder of the split (of validation: `dev` or `validation`). A name
consists of the broadcast and a number.
"""

from pathlib import Path

from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.delimited_table import read_delimited_rows
from kinesweep.sources.prepare.file_search import find_single_file
from kinesweep.sources.prepare.split_annotations import SplitAnnotations
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_SPLIT_NAMES = {"train": "train", "validation": "dev", "test": "test"}
_REQUIRED_COLUMNS = ("name", "translation")


def read_phoenix(folder: Path, split: str) -> SplitAnnotations:
    """Read the annotations of a split; there are none if no file matches the split.

    Raises:
        InputError: If several files match the split.
        SourceError: If the file is malformed; names every line.
    """
    split_name = _SPLIT_NAMES[split]
    path = find_single_file(folder, f"PHOENIX-2014-T.{split_name}.corpus.csv")
    if path is None:
        return SplitAnnotations()
    rows, errors = read_delimited_rows(path, "|", _REQUIRED_COLUMNS)
    raise_table_errors(errors)
    return SplitAnnotations(
        [_build_annotation(row, split_name, f"{path.name}:{line}") for line, row in rows]
    )


def _build_annotation(row: dict[str, str], folder: str, location: str) -> ClipAnnotation:
    """Build the annotation of a clip from its row.

    Args:
        row: Fields by column name.
        folder: Folder of the split, in which the pose file is looked for first.
        location: Location of the row.
    """
    name = row["name"]
    folders = (folder, "validation") if folder == "dev" else (folder,)
    paths = [*(f"{parent}/{name}.pose" for parent in folders), f"{name}.pose"]
    # A name without a hyphen becomes a document of its own.
    document, _, order = name.rpartition("-")
    return ClipAnnotation(
        id=name,
        candidate_files=tuple(PoseFile(path) for path in paths),
        text=row["translation"],
        encoder_prompt="__dgs__",
        decoder_prompt="__de__",
        document=document or name,
        order=int(order) if order.isdigit() else 0,
        signer=row.get("speaker", ""),
        gloss=row.get("orth", ""),
        language="de",
        row=location,
    )
