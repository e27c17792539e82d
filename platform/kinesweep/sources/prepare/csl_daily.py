"""Reader for CSL-Daily: `video_map.txt` with all sentences and `split_1.txt` with their splits.

The fields are separated by bars: `index|name|length|gloss|char|word|postag` and `name|split`. Both
files are in the annotation folder or in its subfolder `sentence_label`. Each clip is one file,
`{name}.pose`, optionally in a folder of the split. A name such as S000020_P0004_T00 consists of
sentence, signer and take. The text is `char` without its spaces. The two lists do not agree
completely, so names that occur in only one of them are reported.
"""

from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.delimited_table import read_delimited_rows
from kinesweep.sources.prepare.file_search import find_single_file
from kinesweep.sources.prepare.split_annotations import SplitAnnotations
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors

_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_SENTENCES_NAME, _SPLITS_NAME = "video_map.txt", "split_1.txt"


def read_csl_daily(folder: Path, split: str) -> SplitAnnotations:
    """Read the annotations of a split, and for train also the sentences without a split.

    A name that occurs in only one of the two lists gives an incomplete annotation. If neither list
    exists, there are no annotations.

    Raises:
        InputError: If only one of the two lists exists.
        SourceError: If a list is malformed; names every line.
    """
    table_dir = folder / "sentence_label" if (folder / "sentence_label").is_dir() else folder
    sentences_path, splits_path = (
        find_single_file(table_dir, _SENTENCES_NAME),
        find_single_file(table_dir, _SPLITS_NAME),
    )
    if sentences_path is None and splits_path is None:
        return SplitAnnotations()
    if sentences_path is None or splits_path is None:
        raise InputError(
            f"`{table_dir}` must contain both `{_SENTENCES_NAME}` and `{_SPLITS_NAME}`"
        )
    rows, errors = read_delimited_rows(sentences_path, "|", ("name", "gloss", "char"))
    split_rows, split_errors = read_delimited_rows(splits_path, "|", ("name", "split"))
    split_by_name, assignment_errors = _assign_splits(split_rows, splits_path.name)
    raise_table_errors([*errors, *split_errors, *assignment_errors])
    # A name may occur twice; equal rows are counted as duplicates later, others are errors there.
    rows_by_name: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line_number, row in rows:
        rows_by_name.setdefault(row["name"], []).append((line_number, row))
    split_names = [
        name for name, assigned_split in split_by_name.items() if assigned_split == _SPLITS[split]
    ]
    # A listed name without a sentence stays in the result, so that it is reported as missing.
    annotations = []
    for name in split_names:
        annotations += [
            _build_annotation(row, _SPLITS[split], f"{_SENTENCES_NAME}:{line_number}")
            for line_number, row in rows_by_name.get(name, [])
        ] or [_build_incomplete_annotation(name, _SENTENCES_NAME)]
    if split == "train":  # in one split only, so that each of them is reported once
        annotations += [
            _build_incomplete_annotation(name, _SPLITS_NAME)
            for name in rows_by_name
            if name not in split_by_name
        ]
    return SplitAnnotations(annotations)


def _assign_splits(
    rows: list[tuple[int, dict[str, str]]], table: str
) -> tuple[dict[str, str], list[TableError]]:
    """Return the split of each name as the list calls it, and the errors in the list.

    Args:
        rows: Line numbers and fields of the list.
        table: Name of the list for messages.
    """
    split_by_name: dict[str, str] = {}
    errors: list[TableError] = []
    for line_number, row in rows:
        name, split = row["name"], row["split"].strip()
        if split not in _SPLITS.values():
            text = f"`split` must be {', '.join(_SPLITS.values())}, but is `{split}`"
            errors.append((f"{table}:{line_number}", text))
        elif split_by_name.setdefault(name, split) != split:
            text = f"`{name}` is in the splits {split_by_name[name]} and {split}; keep one line"
            errors.append((f"{table}:{line_number}", text))
    return split_by_name, errors


def _build_annotation(row: dict[str, str], folder: str, location: str) -> ClipAnnotation:
    """Build the annotation of a clip from its row of `video_map.txt`.

    Args:
        row: Fields by column name.
        folder: Folder of the split, in which the pose file is looked for first.
        location: Location of the row.
    """
    name = row["name"]
    return ClipAnnotation(
        id=name,
        candidate_files=(PoseFile(f"{folder}/{name}.pose"), PoseFile(f"{name}.pose")),
        text="".join(row["char"].split()),
        encoder_prompt="__csl__",
        decoder_prompt="__zh__",
        document=name,
        order=0,
        # The part of the name that begins with `P`, as in S000020_P0004_T00.
        signer=next((name_part for name_part in name.split("_") if name_part[:1] == "P"), ""),
        gloss=row["gloss"],
        language="zh",
        row=location,
    )


def _build_incomplete_annotation(name: str, missing_table: str) -> ClipAnnotation:
    """Build an incomplete annotation for a name that occurs in one list only."""
    return ClipAnnotation(
        id=name,
        candidate_files=(),
        text="",
        encoder_prompt="",
        decoder_prompt="",
        document=name,
        order=0,
        missing_part=f"its row in {missing_table}",
    )
