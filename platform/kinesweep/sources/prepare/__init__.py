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
from kinesweep.sources.prepare.media import unestimated
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
        unestimated: those among the missing whose video or folder of frames is there.
    """

    files: dict[str, Path]
    clips: dict[str, int]
    missing: dict[str, int]
    unestimated: int


def prepare(
    corpus: str, annotations: Path, poses: Path, out: Path, overwrite: bool = False
) -> Prepared:
    """Writes `out/{train,validation,test}.tsv` for the splits that have annotations.

    Media paths are relative to `poses`, which a recipe names as `source.root`.

    Args:
        corpus: one of `READERS`.
        annotations: folder of the published files.
        poses: folder of the `.pose` files; videos and folders of frames beside them are reported.
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
    tables, lost, filmed = _look_up(read, poses)
    if not tables:
        raise _no_poses(lost, filmed, poses)
    missing = Counter(line.split("\t")[0] for line in lost)
    files = dict(_write(out, tables, lost, there))
    return Prepared(
        files, {split: len(lines) for split, lines in tables.items()}, dict(missing), filmed
    )


def _look_up(
    read: dict[str, list[Annotation]], poses: Path
) -> tuple[dict[str, list[str]], list[str], int]:
    """Lines of each split's table, lines of what is missing, and how much of that is filmed."""
    tables: dict[str, list[str]] = {}
    lost: list[str] = []
    filmed = 0
    for split, row in ((split, row) for split, rows in read.items() for row in rows):
        found = next((file for file in row.files if (poses / file.path).is_file()), None)
        if found is not None:
            tables.setdefault(split, []).append(row.line(found))
            continue
        film = unestimated(poses, row.files)
        filmed += film is not None
        lost.append("\t".join((split, row.id, f"poses of {film}" if film else row.looked_for)))
    return tables, lost, filmed


def _no_poses(lost: list[str], filmed: int, poses: Path) -> InputError:
    first = lost[0].split("\t")[2]
    text = f"none of {len(lost)} pose files is in `{poses}`; looked for `{first}` …"
    if filmed:
        text += (
            f" {filmed} clips are there as videos or frames: estimate their poses first, with"
            f" `kinesweep estimate {poses} --out {poses}`"
        )
    return InputError(text)


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
