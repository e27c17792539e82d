"""Published annotation files to TSVs that `pose_tsv` reads, poses where they lie.

A corpus's reader turns its own files into rows; everything else is the same for all: the pose file
of each row is looked up, rows without one are counted and listed, and nothing that is there is
kept or replaced unasked. Readers are chosen by name from the table below.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.csl_daily import read_csl_daily
from kinesweep.sources.prepare.generic import read_generic
from kinesweep.sources.prepare.how2sign import read_how2sign
from kinesweep.sources.prepare.openasl import read_openasl
from kinesweep.sources.prepare.phoenix import read_phoenix
from kinesweep.sources.prepare.rows import Annotation
from kinesweep.sources.prepare.youtube_asl import read_youtube_asl
from kinesweep.sources.split import COLUMNS

READERS: dict[str, Callable[[Path, str], list[Annotation]]] = {
    "how2sign": read_how2sign,
    "phoenix": read_phoenix,
    "csl_daily": read_csl_daily,
    "openasl": read_openasl,
    "youtube_asl": read_youtube_asl,
    "generic": read_generic,
}
"""Corpus → reader of a split's annotations, none where the folder has no file of that split."""
MISSING = "missing.tsv"


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        files: split → TSV.
        clips: split → rows in it.
        missing: split → rows without a pose file or a text, listed in `missing.tsv`.
    """

    files: dict[str, Path]
    clips: dict[str, int]
    missing: dict[str, int]


def prepare(
    corpus: str, annotations: Path, poses: Path, out: Path, overwrite: bool = False
) -> Prepared:
    """Writes `out/{train,validation,test}.tsv` for the splits that have annotations.

    Media paths are relative to `poses`, which a recipe names as `source.root`.

    Args:
        corpus: one of `READERS`.
        annotations: folder of the published files.
        poses: folder of the `.pose` files.
        out: a folder; other files in it stay.
        overwrite: replace TSVs that are there.

    Raises:
        InputError: no annotations, no pose file at all, or TSVs that are there already.
        SourceError: an annotation file is malformed; with every line.
    """
    for folder in (annotations, poses):
        if not folder.is_dir():
            raise InputError(f"`{folder}` is not a folder")
    there = [out / name for name in (*(f"{s}.tsv" for s in SPLITS), MISSING)]
    if not overwrite and any(path.exists() for path in there):
        raise InputError(f"`{out}` holds TSVs already; give another folder, or `--overwrite`")
    read = {split: READERS[corpus](annotations, split) for split in SPLITS}
    if not any(read.values()):
        raise InputError(f"`{annotations}` holds no annotations of {corpus}")
    tables: dict[str, list[str]] = {}
    lost: list[str] = []
    for split, rows in read.items():
        lines = []
        for row in rows:
            found = next((f for f in row.files if (poses / f.path).is_file()), None)
            if found is None:
                lost.append("\t".join((split, row.id, row.looked_for)))
            else:
                lines.append(row.line(found))
        if lines:
            tables[split] = lines
    if not tables:
        first = lost[0].split("\t")[2]
        raise InputError(f"none of {len(lost)} pose files is in `{poses}`; looked for `{first}` …")
    missing = Counter(line.split("\t")[0] for line in lost)
    files = dict(_write(out, tables, lost, there))
    return Prepared(files, {split: len(lines) for split, lines in tables.items()}, dict(missing))


def _write(
    out: Path, tables: dict[str, list[str]], lost: list[str], old: list[Path]
) -> Iterator[tuple[str, Path]]:
    """Writes the tables; those of an earlier call that are not written anew are removed."""
    out.mkdir(parents=True, exist_ok=True)
    for path in old:
        path.unlink(missing_ok=True)
    for split, lines in tables.items():
        path = out / f"{split}.tsv"
        path.write_text("\n".join(["\t".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
        yield split, path
    if lost:
        heading = "split\tid\tlooked for"
        (out / MISSING).write_text("\n".join([heading, *lost]) + "\n", encoding="utf-8")
