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
from kinesweep.sources.prepare.media import find_unestimated_video
from kinesweep.sources.prepare.openasl import read_openasl
from kinesweep.sources.prepare.phoenix import read_phoenix
from kinesweep.sources.prepare.rows import ClipAnnotation
from kinesweep.sources.prepare.youtube_asl import read_youtube_asl
from kinesweep.sources.splitting.cross_validation import TSV_COLUMNS

ANNOTATION_READERS: dict[str, Callable[[Path, str], list[ClipAnnotation]]] = {
    "how2sign": read_how2sign,
    "phoenix": read_phoenix,
    "csl_daily": read_csl_daily,
    "openasl": read_openasl,
    "youtube_asl": read_youtube_asl,
    "generic": read_generic,
}
"""Corpus → reader of a split's annotations, which returns no rows if the split has no file."""
MISSING_TABLE_NAME = "missing.tsv"
"""Name of the table of rows without a pose file or a text."""


@dataclass(frozen=True)
class PreparationResult:
    """The result of the conversion of published annotations.

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


def prepare_corpus(
    corpus: str, annotations: Path, poses: Path, out: Path, overwrite: bool = False
) -> PreparationResult:
    """Convert published annotations to `out/{train,validation,test}.tsv`, if a split has any.

    Media paths are written relative to `poses`, which a recipe sets as `source.root`.

    Args:
        corpus: Name of the corpus, a key of `ANNOTATION_READERS`.
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
    output_paths = [out / name for name in (*(f"{s}.tsv" for s in SPLITS), MISSING_TABLE_NAME)]
    if not overwrite and any(path.exists() for path in output_paths):
        raise InputError(
            f"`{out}` already contains TSVs; choose another folder or use `--overwrite`"
        )
    annotations_by_split = {
        split: ANNOTATION_READERS[corpus](annotations, split) for split in SPLITS
    }
    if not any(annotations_by_split.values()):
        raise InputError(f"`{annotations}` contains no annotations of {corpus}")
    lines_by_split, missing_lines, num_unestimated = _find_pose_files(annotations_by_split, poses)
    if not lines_by_split:
        raise _make_no_poses_error(missing_lines, num_unestimated, poses)
    # Nothing is written before all files were read, so an error leaves `out` unchanged.
    missing = Counter(line.split("\t")[0] for line in missing_lines)
    files = dict(_write_tables(out, lines_by_split, missing_lines, output_paths))
    return PreparationResult(
        files,
        {split: len(lines) for split, lines in lines_by_split.items()},
        dict(missing),
        num_unestimated,
    )


def _find_pose_files(
    annotations_by_split: dict[str, list[ClipAnnotation]], poses: Path
) -> tuple[dict[str, list[str]], list[str], int]:
    """Find the pose file of each row.

    Returns:
        The lines of each split's table, the lines of the table of missing rows, and the number of
        missing rows whose video or folder of frames exists.
    """
    lines_by_split: dict[str, list[str]] = {}
    missing_lines: list[str] = []
    num_unestimated = 0
    for split, row in (
        (split, row) for split, rows in annotations_by_split.items() for row in rows
    ):
        # The readers list the preferred location first.
        pose_file = next((file for file in row.files if (poses / file.path).is_file()), None)
        if pose_file is not None:
            lines_by_split.setdefault(split, []).append(row.format_tsv_row(pose_file))
            continue
        video = find_unestimated_video(poses, row.files)
        num_unestimated += video is not None
        missing_lines.append(
            "\t".join((split, row.id, f"poses of {video}" if video else row.missing_description))
        )
    return lines_by_split, missing_lines, num_unestimated


def _make_no_poses_error(missing_lines: list[str], num_unestimated: int, poses: Path) -> InputError:
    """Build the error for a folder that contains none of the pose files."""
    first_location = missing_lines[0].split("\t")[2]
    text = (
        f"none of {len(missing_lines)} pose files is in `{poses}`; looked for `{first_location}` …"
    )
    if num_unestimated:
        text += (
            f" {num_unestimated} of the clips exist as videos or frames; estimate their poses first"
            " with"
            f" `kinesweep estimate-poses {poses} --out {poses}`"
        )
    return InputError(text)


def _write_tables(
    out: Path, lines_by_split: dict[str, list[str]], missing_lines: list[str], old_paths: list[Path]
) -> Iterator[tuple[str, Path]]:
    """Write the tables and yield each split with its path."""
    out.mkdir(parents=True, exist_ok=True)
    # All old tables are removed, because a split of an earlier call may have no rows now.
    for path in old_paths:
        path.unlink(missing_ok=True)
    for split, lines in lines_by_split.items():
        path = out / f"{split}.tsv"
        path.write_text("\n".join(["\t".join(TSV_COLUMNS), *lines]) + "\n", encoding="utf-8")
        yield split, path
    if missing_lines:
        heading = "split\tid\tlooked for"
        (out / MISSING_TABLE_NAME).write_text(
            "\n".join([heading, *missing_lines]) + "\n", encoding="utf-8"
        )
