"""Reader for CSL-Daily: `video_map.txt` with all sentences and `split_1.txt` with their splits.

The fields are separated by bars: `index|name|length|gloss|char|word|postag` and `name|split`. Both
files are in the annotation folder or in its subfolder `sentence_label`. Each clip is one file,
`{name}.pose`, optionally in a folder of the split. A name such as S000020_P0004_T00 consists of
sentence, signer and take. The text is `char` without its spaces. The two lists do not agree
completely, so names that occur in only one of them are reported.
"""

from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.rows import Annotation, PoseFile, find_single_file, rows_of
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_MAP, _LIST = "video_map.txt", "split_1.txt"


def read_csl_daily(folder: Path, split: str) -> list[Annotation]:
    """Read the annotations of a split; sentences without a split are reported with train.

    Raises:
        InputError: If only one of the two lists exists.
        SourceError: If a list is malformed; names every line.
    """
    place = folder / "sentence_label" if (folder / "sentence_label").is_dir() else folder
    sentences, names = find_single_file(place, _MAP), find_single_file(place, _LIST)
    if sentences is None and names is None:
        return []
    if sentences is None or names is None:
        raise InputError(f"`{place}` must contain both `{_MAP}` and `{_LIST}`")
    rows, faults = rows_of(sentences, "|", ("name", "gloss", "char"))
    listed, more = rows_of(names, "|", ("name", "split"))
    raise_table_errors([*faults, *more])
    said = {row["name"]: row for _, row in rows}
    split_of = {row["name"]: row["split"] for _, row in listed}
    own = [name for name, its in split_of.items() if its == _SPLITS[split]]
    # A listed name without a sentence stays in the result, so that it is reported as missing.
    found = [
        _annotation(said[name], _SPLITS[split]) if name in said else _half(name, _MAP)
        for name in own
    ]
    if split == "train":  # in one split only, so that each of them is reported once
        found += [_half(name, _LIST) for name in said if name not in split_of]
    return found


def _annotation(row: dict[str, str], folder: str) -> Annotation:
    """Convert a row of `video_map.txt`."""
    name = row["name"]
    return Annotation(
        id=name,
        files=(PoseFile(f"{folder}/{name}.pose"), PoseFile(f"{name}.pose")),
        text="".join(row["char"].split()),
        encoder_prompt="__csl__",
        decoder_prompt="__zh__",
        document=name,
        order=0,
        # The part that begins with `P`, as in S000020_P0004_T00.
        signer=next((part for part in name.split("_") if part.startswith("P")), ""),
        gloss=row["gloss"],
        language="zh",
    )


def _half(name: str, lacking: str) -> Annotation:
    """Return an incomplete annotation for a name that occurs in one list only."""
    return Annotation(
        id=name,
        files=(),
        text="",
        encoder_prompt="",
        decoder_prompt="",
        document=name,
        order=0,
        lacks=f"its row in {lacking}",
    )
