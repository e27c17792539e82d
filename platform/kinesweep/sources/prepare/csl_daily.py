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
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_SENTENCES_NAME, _SPLITS_NAME = "video_map.txt", "split_1.txt"


def read_csl_daily(folder: Path, split: str) -> list[ClipAnnotation]:
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
        return []
    if sentences_path is None or splits_path is None:
        raise InputError(
            f"`{table_dir}` must contain both `{_SENTENCES_NAME}` and `{_SPLITS_NAME}`"
        )
    rows, errors = read_delimited_rows(sentences_path, "|", ("name", "gloss", "char"))
    split_rows, split_errors = read_delimited_rows(splits_path, "|", ("name", "split"))
    raise_table_errors([*errors, *split_errors])
    row_by_name = {row["name"]: row for _, row in rows}
    split_by_name = {row["name"]: row["split"] for _, row in split_rows}
    split_names = [
        name for name, assigned_split in split_by_name.items() if assigned_split == _SPLITS[split]
    ]
    # A listed name without a sentence stays in the result, so that it is reported as missing.
    annotations = [
        _build_annotation(row_by_name[name], _SPLITS[split])
        if name in row_by_name
        else _build_incomplete_annotation(name, _SENTENCES_NAME)
        for name in split_names
    ]
    if split == "train":  # in one split only, so that each of them is reported once
        annotations += [
            _build_incomplete_annotation(name, _SPLITS_NAME)
            for name in row_by_name
            if name not in split_by_name
        ]
    return annotations


def _build_annotation(row: dict[str, str], folder: str) -> ClipAnnotation:
    """Build the annotation of a clip from its row of `video_map.txt`.

    Args:
        row: Fields by column name.
        folder: Folder of the split, in which the pose file is looked for first.
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
