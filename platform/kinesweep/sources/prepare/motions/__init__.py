"""Conversion of HumanML3D and KIT-ML to tables of clips with captions; motions stay where they are.

Each id of a list and each line of its texts becomes a part of a clip, or is counted with a reason.
The tables are those of the sources `skeletons` (joints) and `feature_tsv` (feature vectors). All
files are read, so that lengths and values that are not numbers are known: 29,232 motions take 7 s
of CPU time.
"""

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import ClipError, InputError
from kinesweep.sources.prepare.corpus_tables import check_no_tables
from kinesweep.sources.prepare.motions.caption_lines import read_caption_file
from kinesweep.sources.prepare.motions.motion_clips import (
    MotionClip,
    build_motion_clips,
    find_length_problem,
)
from kinesweep.sources.prepare.motions.motion_corpora import (
    FOLDERS,
    LIST_NAMES,
    MOTION_CORPORA,
    MotionCorpus,
    MotionSettings,
)
from kinesweep.sources.prepare.motions.motion_frames import read_motion_frames
from kinesweep.sources.prepare.motions.motion_lists import (
    ListedMotion,
    MotionLists,
    read_motion_lists,
)
from kinesweep.sources.prepare.motions.motion_tables import write_motion_tables
from kinesweep.sources.prepare.preparation_result import PreparationResult, format_counts
from kinesweep.sources.prepare.split_annotations import DroppedRow

__all__ = ["MOTION_CORPORA", "MotionSettings", "prepare_motion_corpus"]

TEXTS_FOLDER = "texts"


@dataclass
class _SplitClips:
    """The clips of a split, and what was not used.

    Attributes:
        clips: Clips in the order of the list.
        dropped: Rows of the list and lines of texts that belong to no clip.
        missing: Id and path of each motion without its file of motion or of texts.
        num_cut: Number of captions that end after their motion.
    """

    clips: list[MotionClip] = field(default_factory=list)
    dropped: list[DroppedRow] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    num_cut: int = 0


def prepare_motion_corpus(
    name: str,
    folder: Path,
    out: Path,
    settings: MotionSettings = MotionSettings(),
    overwrite: bool = False,
) -> PreparationResult:
    """Write one table in `out` for each list of a motion corpus that has clips.

    The tables are named `train.tsv`, `validation.tsv` and `test.tsv`. Motions without a file of
    joints or of texts are listed in `missing.tsv`, and all else that is no clip in `dropped.tsv`.

    Args:
        name: Name of the corpus, a key of `MOTION_CORPORA`.
        folder: Folder of the corpus, with the lists, the texts and the motions.
        out: Folder for the tables, which may be the folder of the corpus.
        settings: Limits of lengths, form of the texts and kind of the motions.
        overwrite: Whether to replace the tables of an earlier call.

    Raises:
        InputError: If a folder or a list is missing, a limit is wrong, no clip can be written, or
            `out` contains tables and `overwrite` is False.
    """
    corpus = MOTION_CORPORA[name]
    _check_settings(corpus, settings)
    _check_folders(folder, out, settings)
    if not overwrite:
        check_no_tables(out)
    lists = read_motion_lists(folder, settings.mirrored)
    found_by_split = {
        split: _read_split(folder, lists, split, corpus, settings) for split in SPLITS
    }
    if not any(found.clips for found in found_by_split.values()):
        raise _make_empty_error(folder, found_by_split)
    files = write_motion_tables(
        out,
        {split: found.clips for split, found in found_by_split.items()},
        {split: found.dropped for split, found in found_by_split.items()},
        {split: found.missing for split, found in found_by_split.items()},
        settings,
    )
    parts = {split: part for split, part in found_by_split.items() if part.dropped}
    return PreparationResult(
        files=files,
        clips={split: len(found_by_split[split].clips) for split in files},
        missing={
            split: len(part.missing) for split, part in found_by_split.items() if part.missing
        },
        unestimated=0,
        dropped={
            split: dict(sorted(Counter(row.reason for row in part.dropped).items()))
            for split, part in parts.items()
        },
        warnings=_format_warnings(folder, found_by_split),
        source_kind="skeletons" if settings.features == "joints" else "feature_tsv",
        source_options=_describe_source(folder, corpus, settings),
    )


def _check_settings(corpus: MotionCorpus, settings: MotionSettings) -> None:
    """Check the limits of lengths and of references.

    Raises:
        InputError: If a limit is below 1, or the shortest clip is longer than the longest one.
    """
    min_frames = corpus.min_frames if settings.min_frames is None else settings.min_frames
    for option, value in (
        ("--min-frames", min_frames),
        ("--max-frames", settings.max_frames),
        ("--max-references", settings.max_references),
    ):
        if value is not None and value < 1:
            raise InputError(f"`{option}` must be at least 1, but is {value}")
    if min_frames > settings.max_frames:
        raise InputError(
            f"`--min-frames` is {min_frames}, above `--max-frames`, which is {settings.max_frames}"
        )


def _check_folders(folder: Path, out: Path, settings: MotionSettings) -> None:
    """Check that the folders of a corpus exist and that the tables can be written into a folder.

    Args:
        folder: Folder of the corpus.
        out: Folder for the tables, which need not exist.
        settings: Kind of the motions, which determines their folder.

    Raises:
        InputError: If a folder is missing, or `out` is a file.
    """
    if not folder.is_dir():
        raise InputError(f"`{folder}` is not a folder")
    for name in (FOLDERS[settings.features], TEXTS_FOLDER):
        if not (folder / name).is_dir():
            raise InputError(
                f"`{folder}` has no folder `{name}`; expected `{FOLDERS[settings.features]}`,"
                f" `{TEXTS_FOLDER}` and lists of ids such as `{LIST_NAMES['train']}`"
            )
    # The folder of the tables may not exist yet, but a folder above it does.
    parent = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not parent.is_dir():
        raise InputError(f"`{parent}` is a file; give a folder for the tables, not `{out}`")
    if not os.access(parent, os.W_OK):
        raise InputError(f"`{parent}` cannot be written to; give another folder for the tables")


def _read_split(
    folder: Path, lists: MotionLists, split: str, corpus: MotionCorpus, settings: MotionSettings
) -> _SplitClips:
    """Read the motions and texts of a split, and build its clips.

    Args:
        folder: Folder of the corpus.
        lists: Ids of all splits.
        split: Name of the split.
        corpus: Corpus with its points and frame rate.
        settings: Choices of the preparation.
    """
    found = _SplitClips(dropped=list(lists.dropped[split]))
    for motion in lists.motions[split]:
        _read_motion(folder, motion, corpus, settings, found)
    # Scores compare with all references, so published numbers of references are a limit there.
    limit = None if split == "train" else settings.max_references
    found.clips = [replace(clip, texts=clip.texts[:limit]) for clip in found.clips]
    return found


def _read_motion(
    folder: Path,
    motion: ListedMotion,
    corpus: MotionCorpus,
    settings: MotionSettings,
    found: _SplitClips,
) -> None:
    """Add the clips of one motion to those of its split, or the reason why it has none.

    Args:
        folder: Folder of the corpus.
        motion: Motion of the list.
        corpus: Corpus with its points and frame rate.
        settings: Choices of the preparation.
        found: Clips of the split, which this function extends.
    """
    motion_path = folder / FOLDERS[settings.features] / f"{motion.id}.npy"
    text_path = folder / TEXTS_FOLDER / f"{motion.id}.txt"
    for path in (motion_path, text_path):
        if not path.is_file():
            found.missing.append((motion.id, f"{path.parent.name}/{path.name}"))
            return
    try:
        frames = read_motion_frames(motion_path, corpus, settings.features)
        captions = read_caption_file(text_path)
    except ClipError as error:
        found.dropped.append(DroppedRow(motion.row, error.reason, str(error)))
        return
    except OSError as error:
        found.dropped.append(DroppedRow(motion.row, "unreadable", str(error)))
        return
    # The published data loaders judge the whole motion first, also if captions name parts of it.
    reason = find_length_problem(frames.count, corpus, settings)
    if reason:
        found.dropped.append(DroppedRow(motion.row, reason, f"{frames.count} frames"))
        return
    built = build_motion_clips(motion, captions, frames, corpus, settings)
    if not captions.lines and not captions.dropped:
        built.dropped.append(DroppedRow(motion.row, "no_captions", f"`{text_path}` is empty"))
    found.clips += built.clips
    found.dropped += built.dropped
    found.num_cut += built.num_cut


def _make_empty_error(folder: Path, found_by_split: dict[str, _SplitClips]) -> InputError:
    """Build the error for a corpus of which no clip can be written, with the counts of reasons.

    Args:
        folder: Folder of the corpus.
        found_by_split: Unused rows and missing files of each split.
    """
    parts = found_by_split.values()
    counts = Counter(row.reason for part in parts for row in part.dropped)
    num_missing = sum(len(part.missing) for part in parts)
    counts["missing_file"] += num_missing
    if not +counts:
        return InputError(f"the lists of `{folder}` are empty")
    first = next((path for part in parts for _, path in part.missing), "")
    example = f"; looked for `{folder / first}`" if first else ""
    problems = [row.problem for part in parts for row in part.dropped if row.problem]
    example += f"; the first problem: {problems[0]}" if problems else ""
    return InputError(f"no clip can be written: {format_counts(+counts)}{example}")


def _format_warnings(folder: Path, found_by_split: dict[str, _SplitClips]) -> list[str]:
    """Format warnings: motions in several splits, captions that were cut, and missing lists.

    Args:
        folder: Folder of the corpus.
        found_by_split: Clips of each split, and what was not used.
    """
    warnings = []
    num_shared = sum(
        row.reason == "other_split" for part in found_by_split.values() for row in part.dropped
    )
    if num_shared:
        warnings.append(
            f"{num_shared} motions are listed in several splits, or their mirror images are; they"
            " stay in test before validation before train"
        )
    num_cut = sum(part.num_cut for part in found_by_split.values())
    if num_cut:
        warnings.append(f"{num_cut} captions end after their motion; their clips end with it")
    warnings += [
        f"there is no list `{name}`, so the split {split} is empty"
        for split, name in LIST_NAMES.items()
        if not (folder / name).is_file()
    ]
    return warnings


def _describe_source(
    folder: Path, corpus: MotionCorpus, settings: MotionSettings
) -> dict[str, str | float]:
    """Return the keys of the recipe section `source` that read the tables, besides their paths."""
    motions = str((folder / FOLDERS[settings.features]).absolute())
    if settings.features == "joints":
        return {"motions": motions, "skeleton": corpus.skeleton, "fps": corpus.fps}
    return {"root": motions, "fps": corpus.fps, "time_unit": "frames"}
