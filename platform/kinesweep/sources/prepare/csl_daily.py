"""CSL-Daily: `video_map.txt` with all sentences and `split_1.txt` with their splits.

Fields between bars: `index|name|length|gloss|char|word|postag` and `name|split`, both in the folder
itself or in its `sentence_label`. A clip is a file: `{name}.pose`, or the same in a folder of the
split. A name such as S000020_P0004_T00 is sentence, signer and take; the text is `char` without
its spaces. The lists do not agree to the last name, so what stands in only one of them is reported.
"""

from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.rows import Annotation, PoseFile, find_file, rows_of
from kinesweep.sources.table import raise_faults

_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_MAP, _LIST = "video_map.txt", "split_1.txt"


def read_csl_daily(folder: Path, split: str) -> list[Annotation]:
    """Annotations of a split; a sentence without a split comes with those of train.

    Raises:
        InputError: one of the two lists is not there.
        SourceError: malformed; with every line.
    """
    place = folder / "sentence_label" if (folder / "sentence_label").is_dir() else folder
    sentences, names = find_file(place, _MAP), find_file(place, _LIST)
    if sentences is None and names is None:
        return []
    if sentences is None or names is None:
        raise InputError(f"`{place}` needs both `{_MAP}` and `{_LIST}`")
    rows, faults = rows_of(sentences, "|", ("name", "gloss", "char"))
    listed, more = rows_of(names, "|", ("name", "split"))
    raise_faults([*faults, *more])
    said = {row["name"]: row for _, row in rows}
    split_of = {row["name"]: row["split"] for _, row in listed}
    own = [name for name, its in split_of.items() if its == _SPLITS[split]]
    found = [
        _annotation(said[name], _SPLITS[split]) if name in said else _half(name, _MAP)
        for name in own
    ]
    if split == "train":
        found += [_half(name, _LIST) for name in said if name not in split_of]
    return found


def _annotation(row: dict[str, str], folder: str) -> Annotation:
    name = row["name"]
    return Annotation(
        id=name,
        files=(PoseFile(f"{folder}/{name}.pose"), PoseFile(f"{name}.pose")),
        text="".join(row["char"].split()),
        encoder_prompt="__csl__",
        decoder_prompt="__zh__",
        document=name,
        order=0,
        signer=next((part for part in name.split("_") if part.startswith("P")), ""),
        gloss=row["gloss"],
        language="zh",
    )


def _half(name: str, lacking: str) -> Annotation:
    """A name that stands in one list alone."""
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
