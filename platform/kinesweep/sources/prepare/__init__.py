"""Conversion of published annotation files to TSVs that `pose_tsv` reads.

The reader of a corpus turns its annotation files into rows. The rest is common to all corpora: the
pose file of each row is looked up (pose files are not moved), rows without one are counted and
listed, and existing TSVs are replaced only on request. Each row of the annotations is written, or
counted with a reason. Readers are selected by name from the table below.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from kinesweep.sources.prepare.preparation_result import PreparationResult, format_counts
from kinesweep.sources.prepare.split_annotations import DroppedRow, SplitAnnotations
from kinesweep.sources.prepare.youtube_asl import read_youtube_asl
from kinesweep.sources.tsv.tsv_columns import WRITTEN_COLUMNS
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors

ANNOTATION_READERS: dict[str, Callable[[Path, str], SplitAnnotations]] = {
    "how2sign": read_how2sign,
    "phoenix": read_phoenix,
    "csl_daily": read_csl_daily,
    "openasl": read_openasl,
    "youtube_asl": read_youtube_asl,
    "generic": read_generic,
}
"""Corpus → function that reads a split's annotations; it returns none if the split has no file."""
_EXPECTED_FILES = {
    "how2sign": "expected files such as `how2sign_train.csv` and `how2sign_val.csv`",
    "phoenix": "expected files such as `PHOENIX-2014-T.train.corpus.csv`",
    "csl_daily": "expected `video_map.txt` and `split_1.txt`",
    "openasl": "expected `openasl-v1.0.tsv`",
    "youtube_asl": (
        "expected captions and a list of the videos, one id per line, such as"
        " `youtube_asl_video_ids.txt`"
    ),
    "generic": "expected tables such as `train.tsv` and `validation.tsv`",
}
"""Corpus → names of the files that its reader looks for, for error messages."""
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


def prepare_corpus(
    corpus: str,
    annotations: Path,
    poses: Path,
    out: Path,
    overwrite: bool = False,
    languages: Sequence[str] = (),
) -> PreparationResult:
    """Convert published annotations to one TSV in `out` for each split that has any.

    The files are named `train.tsv`, `validation.tsv` and `test.tsv`. Media paths are written
    relative to `poses`, which a recipe sets as `source.root`. Clips without a pose file or
    annotations are listed in `missing.tsv`, rows that cannot be clips in `dropped.tsv`.

    Args:
        corpus: Name of the corpus, a key of `ANNOTATION_READERS`.
        annotations: Folder of the published annotation files.
        poses: Folder of the `.pose` files; videos and folders of frames in it are reported.
        out: Folder for the TSVs; other files in it are kept.
        overwrite: Whether to remove the TSVs of an earlier call, of all splits, and write new ones.
        languages: Languages of captions in the order of preference, or `all`; for `youtube_asl`.

    Raises:
        InputError: If a folder does not exist, there are no annotations, there are no pose files at
            all, `out` already contains TSVs and `overwrite` is False, or languages are given for a
            corpus without captions.
        SourceError: If an annotation file is malformed; names every line.
    """
    for folder in (annotations, poses):
        if not folder.is_dir():
            raise InputError(f"`{folder}` is not a folder")
    table_names = (*(f"{split}.tsv" for split in SPLITS), MISSING_TABLE_NAME, DROPPED_TABLE_NAME)
    output_paths = [out / name for name in table_names]
    if not overwrite and any(path.exists() for path in output_paths):
        raise InputError(
            f"`{out}` already contains TSVs; choose another folder or use `--overwrite`"
        )
    read = _select_reader(corpus, languages)
    annotations_by_split = {split: _drop_unusable(read(annotations, split)) for split in SPLITS}
    if not any(part.annotations or part.dropped for part in annotations_by_split.values()):
        raise InputError(
            f"`{annotations}` contains no annotations of {corpus}; {_EXPECTED_FILES[corpus]}"
        )
    lines_by_split, missing_clips = _locate_clips(annotations_by_split, poses)
    if not lines_by_split:
        raise _make_empty_error(annotations_by_split, missing_clips, poses)
    # Nothing is written before all files were read, so an error leaves `out` unchanged.
    # All old tables are removed, because a split of an earlier call may have no rows now.
    out.mkdir(parents=True, exist_ok=True)
    for path in output_paths:
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
    )


def _select_reader(
    corpus: str, languages: Sequence[str]
) -> Callable[[Path, str], SplitAnnotations]:
    """Return the reader of a corpus, which knows the languages that were asked for.

    Raises:
        InputError: If languages are given for a corpus without captions.
    """
    if not languages:
        return ANNOTATION_READERS[corpus]
    if corpus != "youtube_asl":
        raise InputError(
            f"`--languages` chooses among captions, and {corpus} has none; leave it out"
        )
    return partial(read_youtube_asl, languages=languages)


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


def _locate_clips(
    annotations_by_split: dict[str, SplitAnnotations], poses: Path
) -> tuple[dict[str, list[str]], list[_MissingClip]]:
    """Look up the pose file of each clip, and separate clips with one from those without.

    Clips whose times are no span of their file are added to the dropped rows of their split.

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
        for split, part in annotations_by_split.items()
        for annotation in part.annotations
    ):
        # The readers list the preferred location first. Times matter only for a file that is not
        # cut to the clip, so they are judged where that file is chosen.
        pose_files = annotation.candidate_files
        pose_file = next((file for file in pose_files if (poses / file.path).is_file()), None)
        if pose_file is not None:
            fault = pose_file.find_fault()
            if fault:
                dropped = DroppedRow(annotation.row or annotation.id, fault)
                annotations_by_split[split].dropped.append(dropped)
            else:
                lines_by_split.setdefault(split, []).append(annotation.format_tsv_line(pose_file))
            continue
        video = find_unestimated_video(poses, pose_files)
        searched_item = f"poses of {video}" if video else annotation.missing_description
        missing_clips.append(_MissingClip(split, annotation.id, searched_item, video is not None))
    return lines_by_split, missing_clips


def _make_empty_error(
    annotations_by_split: dict[str, SplitAnnotations],
    missing_clips: list[_MissingClip],
    poses: Path,
) -> InputError:
    """Build the error for annotations of which no clip can be written.

    Args:
        annotations_by_split: Annotations by split, with the dropped rows.
        missing_clips: Clips without a pose file.
        poses: Folder in which the pose files were looked for.
    """
    reasons = Counter(row.reason for part in annotations_by_split.values() for row in part.dropped)
    if missing_clips:
        return _make_no_poses_error(missing_clips, poses)
    return InputError(f"no row can be written; all were dropped: {format_counts(reasons)}")


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
