"""Conversion of published annotation files to TSVs that `pose_tsv` reads.

The reader of a corpus turns its annotation files into rows. The rest is common to all corpora: the
pose file of each row is looked up (pose files are not moved), rows without one are counted and
listed, and existing TSVs are replaced only on request. Readers are selected by name from the table
below.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import InputError
from kinesweep.core.tables.table_writing import format_table
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation
from kinesweep.sources.prepare.csl_daily import read_csl_daily
from kinesweep.sources.prepare.file_search import find_unestimated_video
from kinesweep.sources.prepare.generic_tsv import read_generic
from kinesweep.sources.prepare.how2sign import read_how2sign
from kinesweep.sources.prepare.openasl import read_openasl
from kinesweep.sources.prepare.phoenix import read_phoenix
from kinesweep.sources.prepare.youtube_asl import read_youtube_asl
from kinesweep.sources.tsv.tsv_columns import WRITTEN_COLUMNS

ANNOTATION_READERS: dict[str, Callable[[Path, str], list[ClipAnnotation]]] = {
    "how2sign": read_how2sign,
    "phoenix": read_phoenix,
    "csl_daily": read_csl_daily,
    "openasl": read_openasl,
    "youtube_asl": read_youtube_asl,
    "generic": read_generic,
}
"""Corpus → function that reads a split's annotations; it returns none if the split has no file."""
MISSING_TABLE_NAME = "missing.tsv"
"""Name of the table of rows without a pose file or a text."""


@dataclass(frozen=True)
class PreparationResult:
    """The result of the conversion of published annotations.

    Attributes:
        files: Path of the TSV by split.
        clips: Number of clips in the TSV by split.
        missing: Number of clips without a pose file or a text by split, listed in `missing.tsv`.
        unestimated: Number of missing clips whose video or folder of frames exists.
    """

    files: dict[str, Path]
    clips: dict[str, int]
    missing: dict[str, int]
    unestimated: int


@dataclass(frozen=True)
class _MissingClip:
    """A clip without a pose file or a text.

    Attributes:
        split: Split of the clip.
        clip_id: Id of the clip.
        searched_item: File or part of the annotation that was not found, for people.
        has_video: Whether a video or folder of frames exists from which poses can be estimated.
    """

    split: str
    clip_id: str
    searched_item: str
    has_video: bool


def prepare_corpus(
    corpus: str, annotations: Path, poses: Path, out: Path, overwrite: bool = False
) -> PreparationResult:
    """Convert published annotations to one TSV in `out` for each split that has any.

    The files are named `train.tsv`, `validation.tsv` and `test.tsv`. Media paths are written
    relative to `poses`, which a recipe sets as `source.root`. Clips without a pose file or a text
    are listed in `missing.tsv`.

    Args:
        corpus: Name of the corpus, a key of `ANNOTATION_READERS`.
        annotations: Folder of the published annotation files.
        poses: Folder of the `.pose` files; videos and folders of frames in it are reported.
        out: Folder for the TSVs; other files in it are kept.
        overwrite: Whether to remove the TSVs of an earlier call, of all splits, and write new ones.

    Raises:
        InputError: If a folder does not exist, there are no annotations, there are no pose files at
            all, or `out` already contains TSVs and `overwrite` is False.
        SourceError: If an annotation file is malformed; names every line.
    """
    for folder in (annotations, poses):
        if not folder.is_dir():
            raise InputError(f"`{folder}` is not a folder")
    output_paths = [
        out / name for name in (*(f"{split}.tsv" for split in SPLITS), MISSING_TABLE_NAME)
    ]
    if not overwrite and any(path.exists() for path in output_paths):
        raise InputError(
            f"`{out}` already contains TSVs; choose another folder or use `--overwrite`"
        )
    annotations_by_split = {
        split: ANNOTATION_READERS[corpus](annotations, split) for split in SPLITS
    }
    if not any(annotations_by_split.values()):
        raise InputError(f"`{annotations}` contains no annotations of {corpus}")
    lines_by_split, missing_clips = _locate_clips(annotations_by_split, poses)
    if not lines_by_split:
        raise _make_no_poses_error(missing_clips, poses)
    # Nothing is written before all files were read, so an error leaves `out` unchanged.
    # All old tables are removed, because a split of an earlier call may have no rows now.
    out.mkdir(parents=True, exist_ok=True)
    for path in output_paths:
        path.unlink(missing_ok=True)
    _write_missing_table(out / MISSING_TABLE_NAME, missing_clips)
    return PreparationResult(
        files=_write_split_tables(out, lines_by_split),
        clips={split: len(lines) for split, lines in lines_by_split.items()},
        missing=dict(Counter(clip.split for clip in missing_clips)),
        unestimated=sum(clip.has_video for clip in missing_clips),
    )


def _locate_clips(
    annotations_by_split: dict[str, list[ClipAnnotation]], poses: Path
) -> tuple[dict[str, list[str]], list[_MissingClip]]:
    """Look up the pose file of each clip, and separate clips with one from those without.

    Args:
        annotations_by_split: Annotations by split.
        poses: Folder of the `.pose` files.

    Returns:
        The lines of the table of each split that has clips with a pose file, and the other clips.
    """
    lines_by_split: dict[str, list[str]] = {}
    missing_clips: list[_MissingClip] = []
    for split, annotation in (
        (split, annotation)
        for split, annotations in annotations_by_split.items()
        for annotation in annotations
    ):
        # The readers list the preferred location first.
        pose_files = annotation.candidate_files
        pose_file = next((file for file in pose_files if (poses / file.path).is_file()), None)
        if pose_file is not None:
            lines_by_split.setdefault(split, []).append(annotation.format_tsv_line(pose_file))
            continue
        video = find_unestimated_video(poses, pose_files)
        searched_item = f"poses of {video}" if video else annotation.missing_description
        missing_clips.append(_MissingClip(split, annotation.id, searched_item, video is not None))
    return lines_by_split, missing_clips


def _make_no_poses_error(missing_clips: list[_MissingClip], poses: Path) -> InputError:
    """Build the error for a folder that contains none of the pose files.

    Args:
        missing_clips: All clips of the corpus, at least one.
        poses: Folder in which the pose files were looked for.
    """
    text = (
        f"none of {len(missing_clips)} pose files is in `{poses}`; looked for"
        f" `{missing_clips[0].searched_item}` …"
    )
    num_unestimated = sum(clip.has_video for clip in missing_clips)
    if num_unestimated:
        text += (
            f" {num_unestimated} of the clips exist as videos or frames; estimate their poses first"
            f" with `kinesweep estimate-poses {poses} --out {poses}`"
        )
    return InputError(text)


def _write_split_tables(out: Path, lines_by_split: dict[str, list[str]]) -> dict[str, Path]:
    """Write the table of each split into a folder, and return the path of each by split."""
    paths = {split: out / f"{split}.tsv" for split in lines_by_split}
    for split, path in paths.items():
        lines = ["\t".join(WRITTEN_COLUMNS), *lines_by_split[split]]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def _write_missing_table(path: Path, missing_clips: list[_MissingClip]) -> None:
    """Write the table of the clips without a pose file or a text, unless there are none."""
    if not missing_clips:
        return
    rows = [(clip.split, clip.clip_id, clip.searched_item) for clip in missing_clips]
    path.write_text(format_table([("split", "id", "looked for"), *rows]), encoding="utf-8")
