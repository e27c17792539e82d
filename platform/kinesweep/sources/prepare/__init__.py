"""Conversion of published annotation files to TSVs that `pose_tsv` reads.

The reader of a corpus turns its annotation files into rows. The rest is common to all corpora: the
pose file of each row is looked up (pose files are not moved), rows without one are counted and
listed, and existing TSVs are replaced only on request. Readers are selected by name from the table
below.
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
from kinesweep.sources.splitting.cross_validation import COLUMNS

READERS: dict[str, Callable[[Path, str], list[Annotation]]] = {
    "how2sign": read_how2sign,
    "phoenix": read_phoenix,
    "csl_daily": read_csl_daily,
    "openasl": read_openasl,
    "youtube_asl": read_youtube_asl,
    "generic": read_generic,
}
"""Corpus → reader of a split's annotations, which returns no rows if the split has no file."""
MISSING = "missing.tsv"
"""Name of the table of rows without a pose file or a text."""


@dataclass(frozen=True)
class Prepared:
    """The result of a conversion.

    Attributes:
        files: TSV by split.
        clips: Number of rows in the TSV by split.
        missing: Number of rows without a pose file or a text by split, listed in `missing.tsv`.
        unestimated: Number of missing rows whose video or folder of frames exists.
    """

    files: dict[str, Path]
    clips: dict[str, int]
    missing: dict[str, int]
    unestimated: int


def prepare(
    corpus: str, annotations: Path, poses: Path, out: Path, overwrite: bool = False
) -> Prepared:
    """Write `out/{train,validation,test}.tsv` for the splits that have annotations.

    Media paths are written relative to `poses`, which a recipe sets as `source.root`.

    Args:
        corpus: Name of the corpus, a key of `READERS`.
        annotations: Folder of the published annotation files.
        poses: Folder of the `.pose` files; videos and folders of frames in it are reported.
        out: Folder for the TSVs; other files in it are kept.
        overwrite: Whether to replace existing TSVs.

    Raises:
        InputError: If there are no annotations, no pose files at all, or TSVs in `out` already.
        SourceError: If an annotation file is malformed; names every line.
    """
    for folder in (annotations, poses):
        if not folder.is_dir():
            raise InputError(f"`{folder}` is not a folder")
    there = [out / name for name in (*(f"{s}.tsv" for s in SPLITS), MISSING)]
    if not overwrite and any(path.exists() for path in there):
        raise InputError(
            f"`{out}` already contains TSVs; choose another folder or use `--overwrite`"
        )
    read = {split: READERS[corpus](annotations, split) for split in SPLITS}
    if not any(read.values()):
        raise InputError(f"`{annotations}` contains no annotations of {corpus}")
    tables, lost, filmed = _look_up(read, poses)
    if not tables:
        raise _no_poses(lost, filmed, poses)
    # Nothing is written before all files were read, so an error leaves `out` unchanged.
    missing = Counter(line.split("\t")[0] for line in lost)
    files = dict(_write(out, tables, lost, there))
    return Prepared(
        files, {split: len(lines) for split, lines in tables.items()}, dict(missing), filmed
    )


def _look_up(
    read: dict[str, list[Annotation]], poses: Path
) -> tuple[dict[str, list[str]], list[str], int]:
    """Look up the pose file of each row.

    Returns:
        The lines of each split's table, the lines of the table of missing rows, and the number of
        missing rows whose video or folder of frames exists.
    """
    tables: dict[str, list[str]] = {}
    lost: list[str] = []
    filmed = 0
    for split, row in ((split, row) for split, rows in read.items() for row in rows):
        # The readers list the preferred location first.
        found = next((file for file in row.files if (poses / file.path).is_file()), None)
        if found is not None:
            tables.setdefault(split, []).append(row.line(found))
            continue
        film = unestimated(poses, row.files)
        filmed += film is not None
        lost.append("\t".join((split, row.id, f"poses of {film}" if film else row.looked_for)))
    return tables, lost, filmed


def _no_poses(lost: list[str], filmed: int, poses: Path) -> InputError:
    """Build the error for a folder that contains none of the pose files."""
    first = lost[0].split("\t")[2]
    text = f"none of {len(lost)} pose files is in `{poses}`; looked for `{first}` …"
    if filmed:
        text += (
            f" {filmed} of the clips exist as videos or frames; estimate their poses first with"
            f" `kinesweep estimate-poses {poses} --out {poses}`"
        )
    return InputError(text)


def _write(
    out: Path, tables: dict[str, list[str]], lost: list[str], old: list[Path]
) -> Iterator[tuple[str, Path]]:
    """Write the tables and yield each split with its path."""
    out.mkdir(parents=True, exist_ok=True)
    # All old tables are removed, because a split of an earlier call may have no rows now.
    for path in old:
        path.unlink(missing_ok=True)
    for split, lines in tables.items():
        path = out / f"{split}.tsv"
        path.write_text("\n".join(["\t".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
        yield split, path
    if lost:
        heading = "split\tid\tlooked for"
        (out / MISSING).write_text("\n".join([heading, *lost]) + "\n", encoding="utf-8")
