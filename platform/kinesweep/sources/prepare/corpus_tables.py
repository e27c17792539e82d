"""The tables of a prepared corpus: one TSV per split, and tables of what was not written.

Readers of published annotations, of TensorFlow Datasets and of Hugging Face data sets all give
annotations by split. Here their media files are looked up, and each annotation is written, or
counted with a reason. Existing tables are replaced only on request.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import InputError
from kinesweep.core.tables.table_writing import format_table
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.file_search import find_unestimated_video
from kinesweep.sources.prepare.preparation_result import (
    SOURCE_KIND_BY_MEDIA,
    PreparationResult,
    format_counts,
)
from kinesweep.sources.prepare.split_annotations import DroppedRow, SplitAnnotations
from kinesweep.sources.tsv.tsv_columns import WRITTEN_COLUMNS
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors

MISSING_TABLE_NAME = "missing.tsv"
"""Name of the table of clips without a pose file or annotations."""
DROPPED_TABLE_NAME = "dropped.tsv"
"""Name of the table of rows that were not written, with their reasons."""


@dataclass(frozen=True)
class _MissingClip:
    """A clip without a pose file or annotations.

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


def check_no_tables(out: Path) -> None:
    """Check that a folder contains no tables of an earlier preparation.

    Raises:
        InputError: If it contains any.
    """
    if any(path.exists() for path in list_table_paths(out)):
        raise InputError(
            f"`{out}` already contains TSVs; choose another folder or use `--overwrite`"
        )


def write_corpus_tables(
    annotations_by_split: dict[str, SplitAnnotations],
    media_root: Path,
    out: Path,
    media: str = "poses",
) -> PreparationResult:
    """Write the tables of a corpus into a folder, and remove those of an earlier preparation.

    Args:
        annotations_by_split: Annotations by split.
        media_root: Folder that contains the media files.
        out: Folder for the tables; other files in it are kept.
        media: Media to look up: `poses`, or `videos` with the names of the candidate files. A data
            set that wrote its own media names them as they are.

    Raises:
        InputError: If no clip can be written.
        SourceError: If two rows have the same id but are not equal; names every row.
    """
    annotations_by_split = {
        split: _drop_unusable(part) for split, part in annotations_by_split.items()
    }
    lines_by_split, missing_clips = _locate_clips(annotations_by_split, media_root, media)
    if not lines_by_split:
        raise _make_empty_error(annotations_by_split, missing_clips, media_root, media)
    # Nothing is written before all files were read, so an error leaves `out` unchanged.
    # All old tables are removed, because a split of an earlier call may have no rows now.
    out.mkdir(parents=True, exist_ok=True)
    for path in list_table_paths(out):
        path.unlink(missing_ok=True)
    _write_missing_table(out / MISSING_TABLE_NAME, missing_clips)
    _write_dropped_table(out / DROPPED_TABLE_NAME, annotations_by_split)
    parts = annotations_by_split.values()
    return PreparationResult(
        files=_write_split_tables(out, lines_by_split),
        clips={split: len(lines) for split, lines in lines_by_split.items()},
        missing=dict(Counter(clip.split for clip in missing_clips)),
        unestimated=sum(clip.has_video for clip in missing_clips),
        dropped={
            split: dict(sorted(Counter(row.reason for row in part.dropped).items()))
            for split, part in annotations_by_split.items()
            if part.dropped
        },
        removed_marks=dict(sum((part.removed_marks for part in parts), Counter())),
        unused_files=dict(sum((part.unused_files for part in parts), Counter())),
        warnings=[warning for part in parts for warning in part.warnings],
        source_kind=SOURCE_KIND_BY_MEDIA[media],
    )


def list_table_paths(out: Path) -> list[Path]:
    """Return the paths of all tables that a preparation may write into a folder."""
    names = (*(f"{split}.tsv" for split in SPLITS), MISSING_TABLE_NAME, DROPPED_TABLE_NAME)
    return [out / name for name in names]


def _drop_unusable(part: SplitAnnotations) -> SplitAnnotations:
    """Return the annotations of a split without repeated rows and rows without a text.

    Raises:
        SourceError: If two rows have the same id but are not equal; names every row.
    """
    kept: dict[str, ClipAnnotation] = {}
    dropped: list[DroppedRow] = []
    errors: list[TableError] = []
    for annotation in part.annotations:
        if not annotation.missing_part and not annotation.text.strip():
            dropped.append(DroppedRow(annotation.row, "empty_text"))
            continue
        # The first row with an id is kept; the others are compared with it.
        first = kept.setdefault(annotation.id, annotation)
        if first is annotation:
            continue
        # Readers may number the rows of a document, so equal rows differ in their order.
        if replace(annotation, row=first.row, order=first.order) == first:
            dropped.append(DroppedRow(annotation.row, "duplicate"))
        else:
            text = f"id `{annotation.id}` is already used by {first.row} with other values"
            errors.append((annotation.row, f"{text}; remove one of the rows"))
    raise_table_errors(errors)
    return replace(part, annotations=list(kept.values()), dropped=[*part.dropped, *dropped])


def _find_media_file(root: Path, files: Sequence[PoseFile], media: str) -> PoseFile | None:
    """Return the first of the possible locations of a clip that exists; None if there is none.

    Args:
        root: Folder of the media files.
        files: Possible locations, as pose files.
        media: `poses`, or `videos` to look for a video or folder of frames beside them.
    """
    if media == "poses":
        return next((file for file in files if (root / file.path).is_file()), None)
    videos = ((file, find_unestimated_video(root, [file])) for file in files)
    return next((replace(file, path=path.rstrip("/")) for file, path in videos if path), None)


def _locate_clips(
    annotations_by_split: dict[str, SplitAnnotations], root: Path, media: str
) -> tuple[dict[str, list[str]], list[_MissingClip]]:
    """Look up the pose file of each clip, and separate clips with one from those without.

    Clips whose times are not a valid span of their file are added to the dropped rows of their
    split.

    Args:
        annotations_by_split: Annotations by split.
        root: Folder of the media files.
        media: Media to look up, `poses` or `videos`.

    Returns:
        The lines of the table of each split that has clips with a pose file, and the other clips.
    """
    lines_by_split: dict[str, list[str]] = {}
    missing_clips: list[_MissingClip] = []
    for split, annotation in (
        (split, annotation)
        for split, part in annotations_by_split.items()
        for annotation in part.annotations
    ):
        # The readers list the preferred location first. Times matter only for a file that is not
        # cut to the clip, so they are judged where that file is chosen.
        pose_files = annotation.candidate_files
        pose_file = _find_media_file(root, pose_files, media)
        if pose_file is not None:
            fault = pose_file.find_fault()
            if fault:
                dropped = DroppedRow(annotation.row or annotation.id, fault)
                annotations_by_split[split].dropped.append(dropped)
            else:
                lines_by_split.setdefault(split, []).append(annotation.format_tsv_line(pose_file))
            continue
        video = find_unestimated_video(root, pose_files)
        searched_item = f"poses of {video}" if video else annotation.missing_description
        if media == "videos":
            searched_item = searched_item.replace(".pose", ".mp4")
        missing_clips.append(_MissingClip(split, annotation.id, searched_item, video is not None))
    return lines_by_split, missing_clips


def _make_empty_error(
    annotations_by_split: dict[str, SplitAnnotations],
    missing_clips: list[_MissingClip],
    root: Path,
    media: str,
) -> InputError:
    """Build the error for annotations of which no clip can be written.

    Args:
        annotations_by_split: Annotations by split, with the dropped rows.
        missing_clips: Clips without a media file.
        root: Folder in which the media files were looked for.
        media: Media that were looked for, `poses` or `videos`.
    """
    parts = annotations_by_split.values()
    reasons = Counter(row.reason for part in parts for row in part.dropped)
    if missing_clips:
        return _make_no_media_error(missing_clips, root, media)
    problems = [row.problem for part in parts for row in part.dropped if row.problem]
    example = f"; the first one: {problems[0]}" if problems else ""
    return InputError(f"no row can be written; all were dropped: {format_counts(reasons)}{example}")


def _make_no_media_error(missing_clips: list[_MissingClip], root: Path, media: str) -> InputError:
    """Build the error for a folder that contains none of the media files.

    Args:
        missing_clips: All clips of the corpus, at least one.
        root: Folder in which the files were looked for.
        media: Media that were looked for, `poses` or `videos`.
    """
    kind = "pose files" if media == "poses" else "videos"
    text = (
        f"none of {len(missing_clips)} {kind} is in `{root}`; looked for"
        f" `{missing_clips[0].searched_item}` …"
    )
    num_unestimated = sum(clip.has_video for clip in missing_clips)
    if num_unestimated:
        text += (
            f" {num_unestimated} of the clips exist as videos or frames; estimate their poses first"
            f" with `kinesweep estimate-poses {root} --out {root}`, or use `--media videos`"
        )
    return InputError(text)


def _write_split_tables(out: Path, lines_by_split: dict[str, list[str]]) -> dict[str, Path]:
    """Write the table of each split into a folder, and return the path of each by split."""
    paths = {split: out / f"{split}.tsv" for split in lines_by_split}
    for split, path in paths.items():
        lines = ["\t".join(WRITTEN_COLUMNS), *lines_by_split[split]]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def _write_dropped_table(path: Path, annotations_by_split: dict[str, SplitAnnotations]) -> None:
    """Write the table of the dropped rows with their reasons, unless there are none."""
    rows = [
        (split, row.row, row.reason)
        for split, part in annotations_by_split.items()
        for row in part.dropped
        # Two thirds of the cues of automatic captions only repeat lines; they are counted alone.
        if row.reason != "rolling_repeat"
    ]
    if rows:
        path.write_text(format_table([("split", "row", "reason"), *rows]), encoding="utf-8")


def _write_missing_table(path: Path, missing_clips: list[_MissingClip]) -> None:
    """Write the table of the clips without a pose file or annotations, unless there are none."""
    if not missing_clips:
        return
    rows = [(clip.split, clip.clip_id, clip.searched_item) for clip in missing_clips]
    path.write_text(format_table([("split", "id", "looked for"), *rows]), encoding="utf-8")
